"""The claims about the grid as a table: which differences must lie where for a claim to be true.

Each line of the table gives components: weighted sums of cells in one metric, with the region in
which the claim needs them. A question is one row of a claim, such as one latent space, with all of
its components. decision_matrix.py asks questions of the same kind; answers.py answers all of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple, get_args

from globals_heads.compare.results import GLOBALS, TOKENS, TOTAL, Cell, Results
from globals_heads.settings import DISCRETE, CompareSettings, LatentSpace

CONTINUOUS = tuple(space for space in get_args(LatentSpace) if space not in DISCRETE)
NOT_ENOUGH = "the grid has not enough values of globals_beta"


class Region(NamedTuple):
    """An open region."""

    lower: float
    upper: float


def above(limit: float) -> Region:
    """Return the region above `limit`."""
    return Region(limit, math.inf)


def below(limit: float) -> Region:
    """Return the region below `limit`."""
    return Region(-math.inf, limit)


def within(margin: float) -> Region:
    """Return the region between -`margin` and `margin`."""
    return Region(-margin, margin)


class Component(NamedTuple):
    """A weighted sum over cells, and the region in which a claim needs it.

    Attributes
    ----------
    metric, weights
        The sum over cells of weight times metric, paired by seed and test event.
    region
        The region in which the claim needs it.
    """

    metric: str
    weights: Mapping[Cell, float]
    region: Region


class Question(NamedTuple):
    """One row of a claim.

    Attributes
    ----------
    claim, text, row
        The claim's number and words; the latent space, cell or grid that this row is about.
    components
        What the claim needs; all of it, except for claim 6.
    untested
        Why this study cannot answer; empty if it can.
    needs
        Cells that must be complete besides those in the components.
    facts
        (how it fails, whether it holds): conditions known without uncertainty, all needed.
    """

    claim: str
    text: str
    row: str
    components: Sequence[Component] = ()
    untested: str = ""
    needs: Sequence[Cell] = ()
    facts: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True)
class Axes:
    """The axes of the plain grid; `betas` are the texts of globals_beta, sorted by value."""

    spaces: tuple[str, ...]
    betas: tuple[str, ...]

    @classmethod
    def of(cls, results: Results) -> "Axes":
        """Return the axes of the measured cells."""
        cells = results.cells()
        betas = dict.fromkeys(cell.globals_beta for cell in cells)
        spaces = dict.fromkeys(cell.latent_space for cell in cells)
        return cls(tuple(spaces), tuple(sorted(betas, key=float)))

    @property
    def off(self) -> str:
        """The smallest globals_beta, 0 in the published grid."""
        return self.betas[0]

    @property
    def standard(self) -> str:
        """1 if it lies between the smallest and the largest, else the second smallest."""
        return "1" if "1" in self.betas[1:-1] else self.betas[:2][-1]

    @property
    def emphasised(self) -> str:
        """The largest globals_beta, 10 in the published grid."""
        return self.betas[-1]

    @property
    def trained(self) -> tuple[str, ...]:
        """All values of globals_beta that train the head."""
        return tuple(beta for beta in self.betas if float(beta) > 0)


def difference(metric: str, plus: Cell, minus: Cell, region: Region) -> Component:
    """Return the component metric(plus) - metric(minus)."""
    return Component(metric, {plus: 1.0, minus: -1.0}, region)


def mean_difference(
    metric: str, plus: str, minus: str, betas: Sequence[str], region: Region
) -> Component:
    """Return the difference of two latent spaces, each the mean over its cells at `betas`."""
    weights = {Cell(plus, beta): 1 / len(betas) for beta in betas}
    weights |= {Cell(minus, beta): -1 / len(betas) for beta in betas}
    return Component(metric, weights, region)


def level(metric: str, cell: Cell, lower: float) -> Component:
    """Return the component metric(cell) > lower."""
    return Component(metric, {cell: 1.0}, above(lower))


CLAIMS = {
    "1": "the weight has no effect on the globals error",
    "2": "the head works: the globals error falls and stays low",
    "2b": "emphasis pays: the largest weight lowers the globals error further",
    "2c": "the head is useful: the latents beat a fit to the objects",
    "3": "trade-off: the tokens pay for the globals",
    "3'": "the latent space is too small: twice its size lowers the price",
    "4": "vq is worse than the continuous latent spaces",
    "5": "all latent spaces are alike",
    "6": "vq wins against the continuous latent spaces",
    "E1": "the tokens' error is best at the smallest weight",
    "E2": "the tokens' error is worst at the largest weight",
    "E3": "the globals error is worst at the smallest weight",
    "E4": "the globals error is best at the largest weight",
    "E5": "the total loss is best at the smallest weight",
    "E6": "the total loss is worst at the largest weight",
}


def claims(results: Results, settings: CompareSettings) -> list[Question]:
    """Return all rows of all claims about the grid; a row without any component is not tested."""
    axes = Axes.of(results)
    questions = [
        *(q for space in axes.spaces for q in _in_a_space(results, axes, space, settings)),
        *(
            _question("2c", cell.name, [level("linear_fit_gain", cell, 0.0)], "")
            for cell in results.cells()
        ),
        *_between_spaces(axes, settings),
    ]
    return sorted(questions, key=lambda question: list(CLAIMS).index(question.claim))


def _question(claim: str, row: str, components: Sequence[Component], untested: str) -> Question:
    """Return one row of a claim; `untested` says why where there are no components."""
    return Question(claim, CLAIMS[claim], row, components, "" if components else untested)


def _in_a_space(
    results: Results, axes: Axes, space: str, settings: CompareSettings
) -> Iterator[Question]:
    """Yield the claims about one latent space."""
    off, standard, emphasised = [axes.off], [axes.standard], [axes.emphasised]
    larger, smaller = axes.betas[1:], axes.betas[:-1]
    d_globals, d_tokens = settings.margin_globals, settings.margin_tokens_ln

    def differences(
        metric: str, first: Sequence[str], second: Sequence[str], region: Region
    ) -> list[Component]:
        """Return the metric at each weight of `first` minus that at each of `second`."""
        # A grid with few values of globals_beta would compare a cell with itself.
        return [
            difference(metric, Cell(space, plus), Cell(space, minus), region)
            for plus, minus in product(first, second)
            if plus != minus
        ]

    helps = differences(GLOBALS, off, standard, above(d_globals))
    stays = differences(GLOBALS, standard, emphasised, above(-d_globals))
    tokens_pay = differences(TOKENS, emphasised, off, above(d_tokens))
    globals_gain = differences(GLOBALS, off, emphasised, above(d_globals))
    trade_off = [*tokens_pay, *globals_gain]
    works = _question("2", space, [*helps, *stays], NOT_ENOUGH)
    if float(axes.off) > 0:  # without a cell whose head is off, only more of it can be examined
        works = works._replace(text=f"more weight of {works.text}")
    no_control = capacity_untested(results, axes, space) if trade_off else NOT_ENOUGH
    price = softened_price(axes, space, d_tokens)
    capacity = [] if no_control else [*trade_off, price]
    yield works
    yield _question("3'", space, capacity, no_control)
    for claim, components in {
        "1": differences(GLOBALS, off, larger, within(d_globals)),
        "2b": differences(GLOBALS, standard, emphasised, above(d_globals)),
        "3": trade_off,
        "E1": differences(TOKENS, larger, off, above(d_tokens)),
        "E2": differences(TOKENS, emphasised, smaller, above(d_tokens)),
        "E3": differences(GLOBALS, off, larger, above(d_globals)),
        "E4": differences(GLOBALS, smaller, emphasised, above(d_globals)),
        "E5": differences(TOTAL, larger, off, above(d_tokens)),
        "E6": differences(TOTAL, emphasised, smaller, above(d_tokens)),
    }.items():
        yield _question(claim, space, components, NOT_ENOUGH)


def _between_spaces(axes: Axes, settings: CompareSettings) -> list[Question]:
    """Return the claims that compare latent spaces: their means over all globals_beta > 0."""
    spaces = axes.spaces if axes.trained else ()
    continuous = [space for space in CONTINUOUS if space in spaces and "vq" in spaces]
    margins = {TOKENS: settings.margin_tokens_ln, GLOBALS: settings.margin_globals}.items()

    def mean(metric: str, plus: str, minus: str, region: Region) -> Component:
        return mean_difference(metric, plus, minus, axes.trained, region)

    by_space, by_metric = list(product(continuous, margins)), list(product(margins, continuous))
    worse = [mean(metric, "vq", space, above(m)) for space, (metric, m) in by_space]
    not_worse = [mean(metric, "vq", space, below(m)) for space, (metric, m) in by_space]
    # Claim 6 needs these of one metric only: see `vq_wins` in answers.py.
    better = [mean(metric, "vq", space, below(-m)) for (metric, m), space in by_metric]
    alike = [
        mean(metric, first, second, within(m))
        for (first, second), (metric, m) in product(combinations(spaces, 2), margins)
    ]
    untrained = "" if axes.trained else "no globals_beta of the grid trains the head"
    no_vq = untrained or "the grid has no vq, or no continuous latent space beside it"
    return [
        _question("4", "vq", worse, no_vq),
        _question("5", "grid", alike, untrained or "the grid has one latent space"),
        _question("6", "vq", [*not_worse, *better], no_vq),
    ]


def softened_price(axes: Axes, space: str, margin: float) -> Component:
    """Return how much less the tokens pay with twice the latent_dim, for claim 3'."""
    weights = {
        Cell(space, axes.emphasised, "control"): 1.0,
        Cell(space, axes.off, "control"): -1.0,
        Cell(space, axes.emphasised, "control_wide"): -1.0,
        Cell(space, axes.off, "control_wide"): 1.0,
    }
    return Component(TOKENS, weights, above(margin))


def capacity_untested(results: Results, axes: Axes, space: str) -> str:
    """Return why claim 3' cannot be tested; empty if the right controls were run.

    The controls train without clipping and with a decaying rate. `control` has the model of the
    plain grid, whose price is in question, and `control_wide` twice its latent_dim. Variants
    without any trained run are not checked here: their runs are reported as missing.
    """
    if any(cell not in results.statuses for cell in softened_price(axes, space, 0.0).weights):
        return "the controls were not run"
    trained = {s.variant: s for s in results.settings.values() if s.latent_space == space}
    if not {"control", "control_wide"} <= trained.keys():
        return ""
    control, wide = trained["control"], trained["control_wide"]
    plain = trained.get("", control)
    doubled = control.model.model_copy(update={"latent_dim": 2 * control.model.latent_dim})
    unclipped = control.train.clip_norm is None and control.train.lr_schedule == "cosine"
    same = (wide.model, wide.train, wide.bottleneck) == (doubled, control.train, control.bottleneck)
    if unclipped and same and control.model == plain.model:
        return ""
    return "control and control_wide differ from config/controls.yaml"
