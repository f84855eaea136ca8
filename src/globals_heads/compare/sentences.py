"""The three sentences that open the verdict, and what must be said before them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from globals_heads.arrays import Array
from globals_heads.compare.answers import NO, NOT_CAPACITY, OPEN, UNTESTED, YES, Answer
from globals_heads.compare.checks import MOSTLY_CLIPPED
from globals_heads.compare.decision_matrix import Choice
from globals_heads.compare.questions import CONTINUOUS, Axes
from globals_heads.compare.results import GLOBALS, TOKENS, Cell, Results
from globals_heads.numbers import MIN_SEEDS, listed, number

SNAKEMAKE = "snakemake --profile local --configfile"
SEEDS = ("no seed", "one seed", "two seeds")


def opening(
    results: Results, answers: Sequence[Answer], matrix: Sequence[tuple[Choice, Answer]]
) -> list[str]:
    """Return the answers to: does the head help, what does it cost, which latent space to take.

    Each can be read aloud and needs no other one.
    """
    axes = Axes.of(results)
    works, trade_off, small = (
        [a for a in answers if a.question.claim == claim] for claim in ("2", "3", "3'")
    )
    parts = (
        (_helps(axes, works), _globals_errors(results, axes)),
        (_costs(axes, trade_off), _token_factors(results, axes), _capacity(small)),
        (_spaces(axes, answers), _balanced(results, matrix)),
    )
    return [" ".join(filter(None, part)) for part in parts]


def warnings(results: Results) -> list[str]:
    """Return what comes before any answer: training that mostly did not converge or was clipped."""
    cells = [cell for cell in results.cells() if "ok" in results.statuses[cell]]
    late = [cell for cell in cells if _ends_early(results, cell)]
    clipped = [cell for cell in cells if results.mean("clipped_fraction", cell) > MOSTLY_CLIPPED]
    found = []
    if 2 * len(late) > len(cells):
        epochs = 2 * int(results.table["epochs"].max())
        found.append(
            f"Training did not converge: in {len(late)} of {len(cells)} cells the best epoch is"
            " the last one in most runs, so the errors would still fall. Train longer first: "
            f"`{SNAKEMAKE} results/study.yaml --config epochs={epochs}`."
        )
    if 2 * len(clipped) > len(cells):
        remedy = (
            f"Controls without clipping: `{SNAKEMAKE} config/controls.yaml results/study.yaml`."
        )
        if any(cell.variant == "control" for cell in results.statuses):
            remedy = "The controls without clipping are compared in pattern 3'."
        found.append(
            f"Most training steps were clipped in {len(clipped)} of {len(cells)} cells, so a part"
            f" of what the tokens pay may be noise of the optimiser. {remedy}"
        )
    return found


def remark(results: Results) -> str:
    """Return what few seeds mean, and the command that gives an answer; empty from three on."""
    n = results.num_seeds
    if n >= MIN_SEEDS:
        return ""
    plain = results.table[results.table["variant"] == ""]
    more = (MIN_SEEDS - n) * len(results.cells())
    seconds = more * (plain["epochs"] * plain["epoch_time_s"]).mean()
    time = f", about {_duration(seconds)} of training on one core" if seconds > 0 else ""
    return (
        f"{SEEDS[n].capitalize()} per cell {'is a hint' if n == 1 else 'are hints'}, not an answer:"
        " a word with a question mark says what these runs show. An answer needs at least three:"
        f" `{SNAKEMAKE} results/study.yaml --config seeds={MIN_SEEDS}` trains {more} more"
        f" runs{time}."
    )


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"


def _ends_early(results: Results, cell: Cell) -> bool:
    """Return whether the best epoch is the last one in most runs of a cell."""
    left = results.numbers["epochs_after_best"][cell]
    return bool((left <= 0).sum() > np.isfinite(left).sum() / 2)


def _by_answer(answers: Sequence[tuple[str, Answer]], texts: Mapping[str, str]) -> str:
    """Return sentences that say what was answered, the latent spaces with one answer together.

    Each answer comes with a key of `texts`, which say it with {} for the latent spaces.
    """
    sentences = []
    for key, text in texts.items():
        group = [answer for word, answer in answers if word == key]
        if group:
            sentence = text.format(listed([a.question.row for a in group]))
            if not text.startswith("whether"):
                sentence = _suggest(group[0]) + sentence
            sentences.append(sentence[0].upper() + sentence[1:] + ".")
    return " ".join(sentences)


def _suggest(answer: Answer) -> str:
    """Return what comes before an answer that is a hint; empty for any other."""
    n = answer.num_seeds if answer.hint else MIN_SEEDS
    return f"{SEEDS[n]} suggest{'s' if n == 1 else ''} that " if n < MIN_SEEDS else ""


def _head(axes: Axes) -> str:
    # Without a cell whose head is off, only more weight of the head can be examined.
    return "the globals head" if float(axes.off) == 0 else "more weight of the globals head"


def _helps(axes: Axes, works: Sequence[Answer]) -> str:
    head, first, last = _head(axes), axes.standard, axes.emphasised
    words = []
    for answer in works:
        # Claim 2 needs both: the error falls, and it stays low at the largest weight.
        falls = answer.known in (NO, OPEN) and answer.seen and answer.seen[0].is_inside
        words.append((f"{answer.known} at {last}" if falls else answer.known, answer))
    return _by_answer(
        words,
        {
            YES: f"{head} helps in {{}}",
            f"{NO} at {last}": f"in {{}} {head} helps with weight {first}, and less with {last}",
            f"{OPEN} at {last}": f"in {{}} {head} helps with weight {first}; whether it helps as"
            f" much with weight {last} is not resolved",
            NO: f"{head} does not help in {{}}",
            OPEN: f"whether {head} helps in {{}} is not resolved",
            UNTESTED: f"whether {head} helps in {{}} is not tested",
        },
    )


def _paired_means(results: Results, metric: str, *cells: Cell) -> Array:
    """Return the means of cells over the seeds that all of them have; NaN if there is none."""
    values = np.stack([results.numbers[metric][cell] for cell in cells])
    common = np.isfinite(values).all(axis=0)
    return values[:, common].mean(axis=1) if common.any() else np.full(len(cells), math.nan)


def _globals_errors(results: Results, axes: Axes) -> str:
    changes, falls = [], []
    for space in axes.spaces if len(axes.betas) > 1 else ():
        off, on = _paired_means(results, GLOBALS, Cell(space, axes.off), Cell(space, axes.standard))
        if math.isfinite(off + on):
            falls.append(on < off)
            changes.append(f"from {off:.2f} to {on:.2f} in {space}")
    if not changes:
        return ""
    verb = "falls" if all(falls) else "goes" if any(falls) else "rises"
    fit = results.table["linear_fit_rec_globals"].mean()
    return (
        f"With weight {axes.standard} instead of {axes.off}, the error of MET read from the latents"
        f" {verb} {listed(changes)}; a fit to the objects themselves leaves {fit:.2f}, and guessing"
        " the mean about 1."
    )


def _costs(axes: Axes, trade_off: Sequence[Answer]) -> str:
    """Return whether the tokens pay: the first component of claim 3."""
    words = []
    for answer in trade_off:
        known = answer.known
        if known not in (YES, UNTESTED):
            pays = [m for m in answer.seen if m.component.metric == TOKENS]
            known = OPEN
            if pays and (pays[0].is_inside or pays[0].is_outside):
                known = YES if pays[0].is_inside else NO
        words.append((known, answer))
    head = _head(axes)
    return _by_answer(
        words,
        {
            YES: f"the tokens pay for {head} in {{}}",
            NO: f"the tokens do not pay for {head} in {{}}",
            OPEN: f"whether the tokens pay for {head} in {{}} is not resolved",
            UNTESTED: f"whether the tokens pay for {head} in {{}} is not tested",
        },
    )


def _token_factors(results: Results, axes: Axes) -> str:
    factors = []
    for space in axes.spaces if len(axes.betas) > 1 else ():
        off, last = _paired_means(
            results, TOKENS, Cell(space, axes.off), Cell(space, axes.emphasised)
        )
        if math.isfinite(last - off):
            factor, error = math.exp(last - off), math.exp(last)
            factors.append(f"{number(factor)} in {space} (to {number(error)})")
    if not factors:
        return ""
    return (
        f"With weight {axes.emphasised} instead of {axes.off}, the tokens' error is multiplied by"
        f" {listed(factors)}, in units of the features' variance."
    )


def _capacity(small: Sequence[Answer]) -> str:
    price = "a latent space of twice the size lowers this price"
    if all(answer.known == UNTESTED for answer in small):
        return f"Whether {price} is not tested."
    return _by_answer(
        [(NO if a.known == NOT_CAPACITY else a.known, a) for a in small],
        {
            YES: f"{price} in {{}}",
            NO: price.replace("lowers", "does not lower") + " in {}",
            OPEN: f"whether {price} in {{}} is not resolved",
        },
    )


def _spaces(axes: Axes, answers: Sequence[Answer]) -> str:
    """Return how the latent spaces compare: what claim 6, 5 or 4 says, then the differences."""
    if len(axes.spaces) == 1:
        return f"The grid has the latent space {axes.spaces[0]} alone."
    rivals = listed([space for space in CONTINUOUS if space in axes.spaces])
    spaces = f"the latent spaces {listed(axes.spaces)}"
    texts = {
        f"6 {YES}": f"the latent space vq wins against {rivals}",
        f"5 {YES}": f"{spaces} are alike",
        f"4 {YES}": f"the latent space vq is worse than {rivals} in tokens and in globals",
        f"5 {NO}": f"{spaces} are not alike",
        f"5 {OPEN}": f"whether {spaces} are alike is not resolved",
        f"5 {UNTESTED}": f"whether {spaces} are alike is not tested",
    }
    known = {f"{a.question.claim} {a.known}": a for a in answers}
    key = next(key for key in texts if key in known)
    text = _by_answer([(key, known[key])], texts)
    worse = next(a for a in answers if a.question.claim == "4")
    means = {
        (
            m.component.metric,
            next(c.latent_space for c, w in m.component.weights.items() if w < 0),
        ): m.estimate.mean
        for m in worse.measured
    }
    if not means or not math.isfinite(sum(means.values())):
        return text
    times, more = [], []
    for (metric, rival), mean in means.items():
        if metric == TOKENS:
            times.append(f"{number(math.exp(mean))} times that of {rival}")
        else:
            than = "larger" if mean > 0 else "smaller"
            more.append(f"{number(abs(mean))} {than} than that of {rival}")
    weights = f"With weight {axes.trained[0]}"
    if len(axes.trained) > 1:
        few = len(axes.trained) <= 3
        which = f"the weights {listed(axes.trained)}" if few else "all weights above 0"
        weights = f"On average over {which}"
    return (
        f"{text} {weights}, the tokens' error of vq is {listed(times)}; its globals error"
        f" is {listed(more)}."
    )


def _balanced(results: Results, matrix: Sequence[tuple[Choice, Answer]]) -> str:
    """Return which cell is best at tokens and globals, and whether the guess is as good."""
    choice, answer = next(line for line in matrix if line[0].question.claim == "M2")
    complete = all(set(results.statuses[cell]) <= {"ok", None} for cell in results.cells())
    which = "" if complete else " without a missing or diverged run"
    if choice.best is None:
        return f"For tokens and globals together, no cell{which} qualifies."
    best, guess = (
        f"{cell.latent_space} with weight {cell.globals_beta}"
        for cell in (choice.best, choice.guess)
    )
    tokens, error = (number(results.mean(m, choice.best)) for m in ("rec_tokens", GLOBALS))
    of = f" of the cells{which}" if which else ""
    text = (
        f"For tokens and globals together, {best} measured best{of} (tokens' error {tokens},"
        f" globals error {error})"
    )
    if answer.answer == UNTESTED:
        return f"{text}."
    guess = "this usual guess" if choice.best == choice.guess else f"the usual guess, {guess},"
    ends = {
        YES: f"{_suggest(answer)}{guess} is {'shown to be ' * (not answer.hint)}as good as any",
        NO: f"{_suggest(answer)}{guess} is not as good",
        OPEN: f"whether {guess} is as good as any is not resolved",
    }
    return f"{text}; {ends[answer.known]}."
