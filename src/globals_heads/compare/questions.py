"""The claims about the grid as a table: which differences must lie where for a claim to be true.

Each line of the table gives components: weighted sums of cells in one metric, with the region where
the claim needs them. A question is one row of a claim, such as one latent space, with all of its
components. decision_matrix.py asks questions of the same kind; answers.py answers all of them.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

from globals_heads.compare.results import Cell, Results
from globals_heads.settings import CompareSettings

TOKENS, GLOBALS = "ln_rec_tokens", "probe_rec_globals"
NAMES = {
    TOKENS: "ln rec_tokens",
    GLOBALS: "globals error",
    "skill": "skill",
    "linear_fit_gain": "globals error(linear fit) - globals error",
    "code_use": "perplexity/num_codes",
    "ln_throughput": "ln events/s",
}
CONTINUOUS = ("none", "linear")
NOT_ENOUGH = "the grid has not enough values of globals_beta"


class Region(NamedTuple):
    """An open region."""

    lower: float
    upper: float

    @property
    def text(self) -> str:
        """The region in words."""
        if math.isinf(self.upper):
            return f"> {self.lower:.3g}"
        if math.isinf(self.lower):
            return f"< {self.upper:.3g}"
        return f"between {self.lower:.3g} and {self.upper:.3g}"


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
    """A weighted sum over cells, and where a claim needs it.

    Attributes
    ----------
    name
        How tables call it.
    metric, weights
        The sum over cells of weight times metric, paired by seed and test event.
    region
        Where it must lie.
    """

    name: str
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
    name = f"{NAMES[metric]}({plus.name}) - {NAMES[metric]}({minus.name})"
    return Component(name, metric, {plus: 1.0, minus: -1.0}, region)


def mean_difference(
    metric: str, plus: str, minus: str, betas: Sequence[str], region: Region
) -> Component:
    """Return the difference of two latent spaces, each the mean over its cells at `betas`."""
    weights = {Cell(plus, beta): 1 / len(betas) for beta in betas}
    weights |= {Cell(minus, beta): -1 / len(betas) for beta in betas}
    name = f"mean {NAMES[metric]}({plus}) - mean {NAMES[metric]}({minus})"
    return Component(name, metric, weights, region)


def level(metric: str, cell: Cell, lower: float) -> Component:
    """Return the component metric(cell) > lower."""
    return Component(f"{NAMES[metric]}({cell.name})", metric, {cell: 1.0}, above(lower))


CLAIMS = {
    "1": "globals_beta has no effect on the globals error",
    "2": "the head works: the globals error falls, and stays low at the largest globals_beta",
    "2b": "emphasis pays: the globals error falls further to the largest globals_beta",
    "2c": "the head is useful: the latents beat the one-parameter fit",
    "3": "trade-off: the tokens pay for the globals",
    "3'": "the latent space is too small: twice the latent_dim lowers the price",
    "4": "vq is worse than the continuous latent spaces",
    "5": "all latent spaces are alike",
    "6": "vq wins against the continuous latent spaces",
    "E1": "rec_tokens is best at the smallest globals_beta",
    "E2": "rec_tokens is worst at the largest globals_beta",
    "E3": "the globals error is worst at the smallest globals_beta",
    "E4": "the globals error is best at the largest globals_beta",
}


def claims(results: Results, settings: CompareSettings) -> list[Question]:
    """Return all rows of all claims about the grid; a row without any component is not tested."""
    axes = Axes.of(results)
    table: defaultdict[tuple[str, str], list[Component]] = defaultdict(list)
    for space, (claim, metric, first, second, region) in product(
        axes.spaces, lines_in_a_space(axes, settings)
    ):
        # A grid with few values of globals_beta would compare a cell with itself.
        table[claim, space] += [
            difference(metric, Cell(space, plus), Cell(space, minus), region)
            for plus, minus in product(first, second)
            if plus != minus
        ]
    for cell in results.cells():
        table["2c", cell.name].append(level("linear_fit_gain", cell, 0.0))
    for claim, row, metric, plus, minus, region in lines_between_spaces(axes, settings):
        table[claim, row].append(mean_difference(metric, plus, minus, axes.trained, region))
    untested = {
        "4": "the grid has no vq, or no continuous latent space beside it",
        "5": "the grid has one latent space",
        "6": "the grid has no vq, or no continuous latent space beside it",
    }
    if not axes.trained:
        untested = dict.fromkeys(untested, "no globals_beta of the grid trains the head")
    rows = {"2c": [cell.name for cell in results.cells()], "4": ["vq"], "5": ["grid"], "6": ["vq"]}
    texts = dict(CLAIMS)
    if float(axes.off) > 0:  # without a cell whose head is off, only more of it can be examined
        texts["2"] = f"more weight of {texts['2']}"
    questions = []
    for claim, text in texts.items():
        for row in rows.get(claim, axes.spaces):
            components, reason = table[claim, row], untested.get(claim, NOT_ENOUGH)
            if claim == "3'" and table["3", row]:
                reason = capacity_untested(results, axes, row)
                price = softened_price(axes, row, settings.margin_tokens_ln)
                components = [] if reason else [*table["3", row], price]
            questions.append(Question(claim, text, row, components, "" if components else reason))
    return questions


def lines_in_a_space(
    axes: Axes, settings: CompareSettings
) -> list[tuple[str, str, Sequence[str], Sequence[str], Region]]:
    """Return the claims about each latent space: claim, metric, two lists of globals_beta, region.

    The claim needs the metric at each globals_beta of the first list minus the metric at each of
    the second list in the region.
    """
    off, standard, emphasised = [axes.off], [axes.standard], [axes.emphasised]
    larger, smaller = axes.betas[1:], axes.betas[:-1]
    d_globals, d_tokens = settings.margin_globals, settings.margin_tokens_ln
    return [
        ("1", GLOBALS, off, larger, within(d_globals)),
        ("2", GLOBALS, off, standard, above(d_globals)),
        ("2", GLOBALS, standard, emphasised, above(-d_globals)),
        ("2b", GLOBALS, standard, emphasised, above(d_globals)),
        ("3", TOKENS, emphasised, off, above(d_tokens)),
        ("3", GLOBALS, off, emphasised, above(d_globals)),
        ("E1", TOKENS, larger, off, above(d_tokens)),
        ("E2", TOKENS, emphasised, smaller, above(d_tokens)),
        ("E3", GLOBALS, off, larger, above(d_globals)),
        ("E4", GLOBALS, smaller, emphasised, above(d_globals)),
    ]


def lines_between_spaces(
    axes: Axes, settings: CompareSettings
) -> list[tuple[str, str, str, str, str, Region]]:
    """Return the claims that compare latent spaces: claim, row, metric, two spaces, region.

    The claim needs the first space's mean of the metric minus the second's in the region. Means are
    over all globals_beta > 0; without any there are no lines.
    """
    if not axes.trained:
        return []
    margins = {TOKENS: settings.margin_tokens_ln, GLOBALS: settings.margin_globals}.items()
    rivals = [space for space in CONTINUOUS if space in axes.spaces and "vq" in axes.spaces]
    lines = []
    for rival, (metric, margin) in product(rivals, margins):
        lines.append(("4", "vq", metric, "vq", rival, above(margin)))
        lines.append(("6", "vq", metric, "vq", rival, below(margin)))
    for (metric, margin), rival in product(margins, rivals):
        # Claim 6 needs these lines of one metric only: see `vq_wins` in answers.py.
        lines.append(("6", "vq", metric, "vq", rival, below(-margin)))
    for (first, second), (metric, margin) in product(combinations(axes.spaces, 2), margins):
        lines.append(("5", "grid", metric, first, second, within(margin)))
    return lines


def softened_price(axes: Axes, space: str, margin: float) -> Component:
    """Return how much less the tokens pay with twice the latent_dim, for claim 3'."""
    weights = {
        Cell(space, axes.emphasised, "control"): 1.0,
        Cell(space, axes.off, "control"): -1.0,
        Cell(space, axes.emphasised, "control_wide"): -1.0,
        Cell(space, axes.off, "control_wide"): 1.0,
    }
    name = f"price in {NAMES[TOKENS]} of {space}: control - control_wide"
    return Component(name, TOKENS, weights, above(margin))


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
