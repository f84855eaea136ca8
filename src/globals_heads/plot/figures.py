"""The registry of figures: what draws each, what it reads, and what the report says of it.

A new figure is a function in a module of this folder and an entry here. The workflow imports this
module at every plan, so matplotlib and pandas are imported only when a figure is drawn.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.numbers import LOGARITHMS
from globals_heads.settings import DISCRETE, Grid, PlotSettings, RunSettings, Settings

if TYPE_CHECKING:
    from globals_heads.plot.inputs import Inputs


def has_codebook(grid: Grid) -> bool:
    """Whether a latent space of the grid has a codebook."""
    return bool(set(grid.latent_space) & set(DISCRETE))


def varies_latent_dim(grid: Grid) -> bool:
    """Whether a variant changes nothing but latent_dim."""
    return any(variant.only_latent_dim for variant in grid.variants.values())


def varies_more(grid: Grid) -> bool:
    """Whether a variant changes more than latent_dim."""
    return not all(variant.only_latent_dim for variant in grid.variants.values())


def has_downstream(grid: Grid) -> bool:
    """Whether a study has the downstream stage; bare axes may belong to one that has it."""
    return getattr(grid, "downstream", True)


class Figure(NamedTuple):
    """A figure.

    Attributes
    ----------
    function
        What draws it: a module of this folder and a function.
    inputs
        The files that it reads, below results/; {dataset} stands for the name of the data set and
        {run} for the folder of each run.
    caption
        reStructuredText; `caption_of` replaces the names in braces.
    label, metric
        What the list in the report calls it; a figure of one run has the name of the run there.
    applies
        Whether a grid has this figure; None if every grid has it.
    reads_variants
        Whether {run} stands for the runs of the variants, too.
    options
        Further arguments of the function.
    """

    function: str
    inputs: tuple[str, ...]
    caption: str
    label: str = ""
    metric: str = ""
    applies: Callable[[Grid], bool] | None = None
    reads_variants: bool = False
    options: tuple[str, ...] = ()


def _heatmap(metric: str, about: str) -> Figure:
    mean = "geometric mean" if metric in LOGARITHMS else "mean"
    caption = (
        f"{metric} over the grid: the {mean} over the seeds, its 95 % interval over seeds and test "
        "events, and n, the number of runs. Intervals need three seeds; this study has "
        "{settings.seeds}. All cells share the test events, so differences between cells are known "
        "better than these intervals suggest; the comparison table shows them. Cells with a "
        f"diverged or missing run are hatched and say so. {about}"
    )
    inputs = ("summary.csv", "comparison.csv")
    return Figure("grid.heatmap", inputs, caption, "heat map", metric, options=(metric,))


HEATMAPS = (
    _heatmap(
        "rec_tokens",
        "rec_tokens (T) is the mean squared error of the normalised features, over real objects.",
    ),
    _heatmap(
        "probe_rec_globals",
        "The globals error of the ridge probe (G) is that of a ridge regression on the frozen "
        "pooled latents. It is comparable in every cell.",
    ),
    _heatmap(
        "rec_globals",
        "With globals_beta 0 the head is never trained (white), so the globals error of the "
        "trained head (H) means nothing there: compare the ridge probe instead.",
    ),
    _heatmap(
        "reco_objects_rec_globals",
        "The globals error of the reconstructed objects (L) is that of a linear fit on their "
        "vector sum. It says how much of MET the objects still hold after the latent space.",
    ),
    _heatmap(
        "val_loss",
        "The validation loss contains globals_beta, so compare colours within a row only.",
    ),
)

OVERVIEW = Figure(
    "overview.overview",
    ("summary.csv", "comparison.csv", "verdict.json"),
    label="overview",
    metric="rec_tokens, rec_globals",
    caption=(
        "The grid at a glance. Above: answers of the verdict. Left: the error of the tokens "
        "(T). Middle: the globals error of the ridge probe on the frozen pooled latents (G). "
        "Brackets and bars are 95 % intervals over seeds and test events; they need three seeds. "
        "Right: one error against the other; grey lines are baselines. Lower left is best."
    ),
)

FIGURES = {"overview": OVERVIEW, **{f"heatmap_{each.metric}": each for each in HEATMAPS}} | {
    "tradeoff": Figure(
        "grid.tradeoff",
        ("summary.csv", "comparison.csv"),
        label="trade-off",
        metric="rec_tokens against rec_globals",
        caption=(
            "rec_tokens (T) against the globals error. Each point is one run on the test split. "
            "Bars are the 95 % intervals of a cell over seeds and test events, around its mean "
            "(for rec_tokens, the mean of ln rec_tokens). Left: the ridge probe on the frozen "
            "pooled latents (G). Right: a linear fit on the reconstructed objects (L). Lines are "
            "baselines without any network: the training mean, minus the vector sum of the "
            "objects' pT, and that sum times one fitted number. Runs in the lower left corner are "
            "best in both."
        ),
    ),
    "chain": Figure(
        "physics.chain",
        ("summary.csv", "comparison.csv"),
        label="chain of baselines",
        metric="met_component_rms",
        caption=(
            "The RMS residual of a MET component in GeV on the test split. Bars are baselines, "
            "points are runs, error bars are 95 % intervals over seeds and test events; all share "
            "the test events. Runs have the error of a linear fit on their reconstructed objects "
            "(L), of a ridge regression on their pooled latents (G), and of their trained head "
            "(H). At globals_beta 0 the head is never trained (hollow). The dashed line continues "
            "the one-parameter fit."
        ),
    ),
    "met": Figure(
        "physics.met",
        ("summary.csv", "data/{dataset}/baselines.csv", "{run}/facts/metrics_test.csv"),
        label="MET",
        metric="response, resolution, angle",
        caption=(
            "MET as the ridge probe reads it from the pooled latents (u), against the true MET "
            "(t). Upper rows, in bins of the true MET: the response, which a mean squared error "
            "pulls below one, and the resolutions along and across the true MET, divided by the "
            "response. Bottom row: the resolution of the angle for a true MET above 50 GeV. "
            "Points are means over the seeds. Bars are their 95 % intervals over seeds alone, "
            "since all cells and baselines (grey) share the test events. Minus the vector sum of "
            "pT and its one-parameter fit differ by a factor only, so their lines coincide after "
            "the division and in the angle."
        ),
    ),
    "residuals": Figure(
        "physics.residuals",
        ("summary.csv", "{run}/facts/metrics_test.csv"),
        label="residuals",
        metric="token_sigma68",
        caption=(
            "Half the width of the central 68 % interval of reconstructed minus true, on the test "
            "split. Left: all objects, one point per run. Right: by object type, the means over "
            "the seeds. Bars are 95 % intervals over seeds."
        ),
    ),
    "learning_curves": Figure(
        "epochs.learning_curves",
        ("summary.csv", "{run}/facts/metrics_train.csv", "{run}/facts/metrics_val.csv"),
        label="learning curves",
        metric="rec_tokens, rec_globals",
        caption=(
            "Unweighted components of the loss over the {settings.epochs} epochs: rows are "
            "globals_beta, columns are latent spaces, one line per seed, validation solid and "
            "train dotted. rec_globals is pale where the head has weight 0 and is not trained. "
            "The strip below each panel shows the fraction of the epoch's steps whose gradient "
            "was clipped ({clip_norm}). Where it is near 1, the optimiser limits rec_tokens as "
            "well as the latent space."
        ),
    ),
    "codebook": Figure(
        "epochs.codebook",
        ("summary.csv", "{run}/cfg.yaml", "{run}/facts/metrics_val.csv"),
        label="codebook",
        metric="perplexity, active_codes",
        caption=(
            "Use of the codebook over the {settings.epochs} epochs, on the validation split, one "
            "line per seed. Active codes are those in use; perplexity is the number of codes in "
            "equal use that have the same entropy. Counts are pooled over the whole split. The "
            "dashed line is the size of the codebook."
        ),
        applies=has_codebook,
    ),
    "downstream": Figure(
        "downstream.downstream",
        ("summary.csv", "comparison.csv", "downstream.csv", "verdict.json"),
        label="downstream",
        metric="AUC, background rejection",
        caption=(
            "What a latent space costs the next phase: the same small classifier (a deep set) "
            "tells tttt from the other processes on the test split, by the original objects, the "
            "reconstructed ones (filled), or the codes or latents (hollow). Left: the area under "
            "the ROC curve (AUC). Middle: its difference to the original objects, paired by seed. "
            "Right: the difference of the background rejection at 50 % signal efficiency. Points "
            "are seeds, bars are 95 % intervals over seeds and test events. Events that were made "
            "here allow a demonstration only: their processes are told apart by how they were made."
        ),
        applies=has_downstream,
    ),
    "latent_dim": Figure(
        "variants.latent_dim",
        (
            "summary.csv",
            "data/{dataset}/events_test.npz",
            "{run}/cfg.yaml",
            "{run}/facts/events_test.npz",
        ),
        label="latent_dim",
        metric="rec_tokens, rec_globals",
        caption=(
            "Where a bottleneck begins: rec_tokens (T) and the globals error of the ridge probe "
            "(G) on the test split against the size of the latent vector, one line per latent "
            "space and globals_beta. Points are runs, bars are 95 % intervals over seeds and test "
            "events."
        ),
        applies=varies_latent_dim,
        reads_variants=True,
    ),
    "variants": Figure(
        "variants.variants",
        (
            "summary.csv",
            "data/{dataset}/events_test.npz",
            "{run}/cfg.yaml",
            "{run}/facts/events_test.npz",
        ),
        label="variants",
        metric="rec_tokens, rec_globals",
        caption=(
            "The plain grid and its variants: {variants}. Left: rec_tokens (T). Middle: the "
            "globals error of the ridge probe (G). Right: the price of the globals head, which is "
            "ln rec_tokens at the largest globals_beta minus ln rec_tokens at the smallest. If a "
            "variant lowers the price, what it changes explains that part of the price. Points "
            "are runs on the test split, or pairs of runs with the same seed. Bars are 95 % "
            "intervals over seeds and test events."
        ),
        applies=varies_more,
        reads_variants=True,
    ),
}

# The figures of each run.
RUN_FIGURES = {
    "curves": Figure(
        "epochs.curves",
        ("{run}/cfg.yaml", "{run}/facts/metrics_train.csv", "{run}/facts/metrics_val.csv"),
        caption=(
            "Run {settings.latent_space}, globals_beta {settings.globals_beta:g}, seed "
            "{settings.seed}: unweighted components of the loss (train dotted, validation solid), "
            "the fraction of steps whose gradient was clipped ({clip_norm}), and the use of the "
            "codebook where there is one."
        ),
    ),
}


def figures_of(grid: Grid) -> dict[str, Figure]:
    """Return the figures of a study with these axes, by their names."""
    return {
        name: figure
        for name, figure in FIGURES.items()
        if figure.applies is None or figure.applies(grid)
    }


def caption_of(figure: Figure, settings: Settings | RunSettings) -> str:
    """Return the caption of a figure of the study, or of one run, with these settings."""
    clip_norm = settings.train.clip_norm
    return figure.caption.format(
        settings=settings,
        clip_norm=f"clip_norm {clip_norm:g}" if clip_norm else "clip_norm null: never",
        variants=", ".join(getattr(settings, "variants", ())),
    )


def draw(name: str, inputs: "Inputs", output: Path) -> None:
    """Draw a figure of the study as `output` (an .svg) and in other formats, its numbers as .csv.

    Raises
    ------
    UserError
        If the study has no such figure.
    """
    figures = figures_of(inputs.axes)
    if name not in figures:
        raise UserError(f"This study has no figure {name!r}; choose one of {', '.join(figures)}.")
    _draw(figures[name], inputs, output, inputs.settings)


def draw_run(name: str, run: RunFolder, settings: PlotSettings) -> None:
    """Draw a figure of one run into the run's folder; parameters as in `draw`."""
    if name not in RUN_FIGURES:
        raise UserError(f"A run has no figure {name!r}; choose one of {', '.join(RUN_FIGURES)}.")
    _draw(RUN_FIGURES[name], run, run.figures / f"{name}.svg", settings)


def _draw(figure: Figure, source: Any, output: Path, settings: PlotSettings) -> None:
    module, function = figure.function.split(".")
    style = import_module(f"{__package__}.style")
    draw_it = getattr(import_module(f"{__package__}.{module}"), function)
    with style.drawn_for(settings):
        style.save(draw_it(source, *figure.options), output, settings)
