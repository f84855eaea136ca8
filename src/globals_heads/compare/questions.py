"""The claims about the grid, as data: which differences must lie where for a claim to be true.

A claim has one or more rows (one per latent space, say), a row has components, and a component is
a weighted sum of cells with the region it must lie in. answers.py judges all of them alike.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from globals_heads.compare.results import Cell, Results
from globals_heads.settings import CompareSettings

TOKENS, GLOBALS = "ln_rec_tokens", "probe_rec_globals"
SYMBOLS = {
    TOKENS: "ln T",
    GLOBALS: "G",
    "skill": "S",
    "linear_fit_gain": "G_linfit - G",
    "code_use": "perplexity/K",
    "ln_throughput": "ln events/s",
}
CONTINUOUS = ("none", "linear")
NOT_ENOUGH = "the grid has not enough values of globals_beta"


@dataclass(frozen=True)
class Component:
    """A weighted sum of cells in one metric, and the open region where a claim needs it.

    Attributes
    ----------
    name, metric, weights
        What it is: a sum over cells of weight times metric, paired by seed.
    lower, upper
        The region.
    share
        How many alternatives share its error rate.
    """

    name: str
    metric: str
    weights: Mapping[Cell, float]
    lower: float = -math.inf
    upper: float = math.inf
    share: int = 1


@dataclass(frozen=True)
class Row:
    """One answer of a claim.

    Attributes
    ----------
    name
        What it is about: a latent space, a cell or the grid.
    components
        All of them are needed.
    alternatives
        Of these groups of components one is needed, if there are any.
    facts
        Conditions that are known without uncertainty, all needed.
    also_needs
        Cells without which nothing can be said, besides those in the components.
    untested
        Why this study cannot test it; empty if it can.
    """

    name: str
    components: tuple[Component, ...] = ()
    alternatives: tuple[tuple[Component, ...], ...] = ()
    facts: tuple[tuple[str, bool], ...] = ()
    also_needs: tuple[Cell, ...] = ()
    untested: str = ""

    @property
    def all_components(self) -> tuple[Component, ...]:
        """Those needed and those of all alternatives."""
        return self.components + tuple(c for group in self.alternatives for c in group)


@dataclass(frozen=True)
class Claim:
    """A statement about the grid.

    Attributes
    ----------
    number, text, rows
        Its name, what it says, and its answers.
    ties
        Whether "tie" is an answer: every component inside its margin on both sides.
    builds_on
        (number, word): it can be "yes" only where the claim of that number is; and where that is
        "yes", the word for its "no".
    """

    number: str
    text: str
    rows: tuple[Row, ...]
    ties: bool = False
    builds_on: tuple[str, str] | None = None


@dataclass(frozen=True)
class Axes:
    """The axes of the plain grid; `betas` are the texts of globals_beta, sorted by value."""

    spaces: tuple[str, ...]
    betas: tuple[str, ...]

    @classmethod
    def of(cls, evidence: Results) -> "Axes":
        """Return the axes of what was measured."""
        cells = evidence.cells()
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
        """Those that train the head."""
        return tuple(beta for beta in self.betas if float(beta) > 0)


def difference(
    metric: str, plus: Cell, minus: Cell, lower: float = -math.inf, upper: float = math.inf
) -> Component:
    """Return the component metric(plus) - metric(minus)."""
    symbol = SYMBOLS[metric]
    name = f"{symbol}({plus.name}) - {symbol}({minus.name})"
    return Component(name, metric, {plus: 1.0, minus: -1.0}, lower, upper)


def level(metric: str, cell: Cell, lower: float) -> Component:
    """Return the component metric(cell) > lower."""
    return Component(f"{SYMBOLS[metric]}({cell.name})", metric, {cell: 1.0}, lower)


def claims(evidence: Results, settings: CompareSettings) -> list[Claim]:
    """Return all claims about the grid, with its axes filled in.

    Comparisons of a cell with itself, as a grid with few values of globals_beta gives them, are
    left out; what then has no component is not tested.
    """
    axes = Axes.of(evidence)
    off, standard, emphasised = axes.off, axes.standard, axes.emphasised
    d_globals, d_tokens = settings.margin_globals, settings.margin_tokens_ln
    # Without a cell whose head is off, only more of it can be judged.
    works = "the head works" if float(off) == 0 else "more weight of the head works"
    tokens, globals_ = partial(difference, TOKENS), partial(difference, GLOBALS)

    def each_space(make: Callable[[Callable[[str], Cell]], list[Component]]) -> tuple[Row, ...]:
        """Return one row per latent space; `make` is given the function from beta to cell."""
        return tuple(_row(space, make(partial(Cell, space))) for space in axes.spaces)

    trade_off = each_space(
        lambda at: [
            tokens(at(emphasised), at(off), d_tokens),
            globals_(at(off), at(emphasised), d_globals),
        ]
    )
    return [
        Claim(
            "1",
            "globals_beta has no effect on the globals error",
            each_space(
                lambda at: [
                    globals_(at(off), at(beta), -d_globals, d_globals) for beta in axes.betas[1:]
                ]
            ),
        ),
        Claim(
            "2",
            f"{works}: the globals error falls, and stays low at the largest globals_beta",
            each_space(
                lambda at: [
                    globals_(at(off), at(standard), d_globals),
                    globals_(at(standard), at(emphasised), -d_globals),
                ]
            ),
        ),
        Claim(
            "2b",
            "emphasis pays: the globals error falls further to the largest globals_beta",
            each_space(lambda at: [globals_(at(standard), at(emphasised), d_globals)]),
        ),
        Claim(
            "2c",
            "the head is useful: the latents beat the one-parameter fit",
            tuple(
                Row(cell.name, (level("linear_fit_gain", cell, 0.0),)) for cell in evidence.cells()
            ),
        ),
        Claim("3", "trade-off: the tokens pay for the globals", trade_off),
        Claim(
            "3'",
            "the latent space is too small: twice the latent_dim lowers the price",
            tuple(_capacity(evidence, axes, row, d_tokens) for row in trade_off),
            builds_on=("3", "trade-off, not capacity"),
        ),
        *_space_claims(axes, d_globals, d_tokens),
        Claim(
            "E1",
            "rec_tokens is best at the smallest globals_beta",
            each_space(lambda at: [tokens(at(beta), at(off), d_tokens) for beta in axes.betas[1:]]),
            ties=True,
        ),
        Claim(
            "E2",
            "rec_tokens is worst at the largest globals_beta",
            each_space(
                lambda at: [tokens(at(emphasised), at(beta), d_tokens) for beta in axes.betas[:-1]]
            ),
            ties=True,
        ),
        Claim(
            "E3",
            "the globals error is worst at the smallest globals_beta",
            each_space(
                lambda at: [globals_(at(off), at(beta), d_globals) for beta in axes.betas[1:]]
            ),
            ties=True,
        ),
        Claim(
            "E4",
            "the globals error is best at the largest globals_beta",
            each_space(
                lambda at: [
                    globals_(at(beta), at(emphasised), d_globals) for beta in axes.betas[:-1]
                ]
            ),
            ties=True,
        ),
    ]


def _row(name: str, components: Iterable[Component]) -> Row:
    # plus and minus are the same cell where two roles fall on one globals_beta.
    kept = tuple(c for c in components if len(c.weights) > 1)
    return Row(name, kept, untested="" if kept else NOT_ENOUGH)


def _capacity(evidence: Results, axes: Axes, trade_off: Row, d_tokens: float) -> Row:
    """Return claim 3' of one latent space: a trade-off that twice the latent_dim softens."""
    space = trade_off.name
    weights = {
        Cell(space, axes.emphasised, "control"): 1.0,
        Cell(space, axes.off, "control"): -1.0,
        Cell(space, axes.emphasised, "control_wide"): -1.0,
        Cell(space, axes.off, "control_wide"): 1.0,
    }
    if trade_off.untested or any(cell not in evidence.statuses for cell in weights):
        return Row(space, untested=trade_off.untested or "the controls were not run")
    if not _are_controls(evidence, space):
        return Row(space, untested="control and control_wide differ from config/controls.yaml")
    name = f"price in ln T of {space}: control - control_wide"
    softened = Component(name, TOKENS, weights, d_tokens)
    return Row(space, (*trade_off.components, softened))


def _are_controls(evidence: Results, space: str) -> bool:
    """Return whether the two variants are unclipped, decay, and differ in twice the latent_dim.

    The smaller one has the model of the plain grid, whose price is in question.

    Nothing is said against variants none of whose runs was trained: those are holes.
    """
    trained = {s.variant: s for s in evidence.settings.values() if s.latent_space == space}
    if not {"control", "control_wide"} <= trained.keys():
        return True
    control, wide = trained["control"], trained["control_wide"]
    plain = trained.get("", control)
    doubled = control.model.model_copy(update={"latent_dim": 2 * control.model.latent_dim})
    unclipped = control.train.clip_norm is None and control.train.lr_schedule == "cosine"
    same = (wide.model, wide.train, wide.bottleneck) == (doubled, control.train, control.bottleneck)
    return unclipped and same and control.model == plain.model


def _space_claims(axes: Axes, d_globals: float, d_tokens: float) -> list[Claim]:
    """Return the claims about latent spaces, on means over all weights that train the head."""

    def gap(
        metric: str,
        plus: str,
        minus: str,
        lower: float = -math.inf,
        upper: float = math.inf,
        share: int = 1,
    ) -> Component:
        weight = 1 / len(axes.trained)
        weights = {Cell(plus, beta): weight for beta in axes.trained}
        weights |= {Cell(minus, beta): -weight for beta in axes.trained}
        symbol = SYMBOLS[metric]
        name = f"mean {symbol}({plus}) - mean {symbol}({minus})"
        return Component(name, metric, weights, lower, upper, share)

    rivals = [space for space in CONTINUOUS if space in axes.spaces]
    no_rival = Row("vq", untested="the grid has no vq, or no continuous latent space beside it")
    no_pair = Row("grid", untested="the grid has one latent space")
    if not axes.trained:
        no_rival = no_pair = Row("grid", untested="no globals_beta of the grid trains the head")
    worse = wins = no_rival
    alike = no_pair
    if axes.trained and "vq" in axes.spaces and rivals:
        worse = Row(
            "vq",
            _flat(
                (gap(TOKENS, "vq", r, d_tokens), gap(GLOBALS, "vq", r, d_globals)) for r in rivals
            ),
        )
        wins = Row(
            "vq",
            _flat(
                (gap(TOKENS, "vq", r, upper=d_tokens), gap(GLOBALS, "vq", r, upper=d_globals))
                for r in rivals
            ),
            alternatives=(
                tuple(gap(TOKENS, "vq", r, upper=-d_tokens, share=2) for r in rivals),
                tuple(gap(GLOBALS, "vq", r, upper=-d_globals, share=2) for r in rivals),
            ),
        )
    if axes.trained and len(axes.spaces) > 1:
        alike = Row(
            "grid",
            _flat(
                (gap(TOKENS, a, b, -d_tokens, d_tokens), gap(GLOBALS, a, b, -d_globals, d_globals))
                for a, b in combinations(axes.spaces, 2)
            ),
        )
    return [
        Claim("4", "vq is worse than the continuous latent spaces", (worse,)),
        Claim("5", "all latent spaces are alike", (alike,)),
        Claim("6", "vq wins against the continuous latent spaces", (wins,)),
    ]


def _flat(groups: Iterable[Sequence[Component]]) -> tuple[Component, ...]:
    return tuple(component for group in groups for component in group)
