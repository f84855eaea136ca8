# Validation of the config, the grid, and helpers of the rules; no rules.

import json
import os
import re
import shlex
import sys
from pathlib import Path

import yaml
from snakemake.settings.types import DeploymentMethod

try:
    from globals_heads import manifest, provenance
    from globals_heads.facts import RunFolder
    from globals_heads.errors import UserError
    from globals_heads.plot.figures import FIGURES, RUN_FIGURES, caption_of, figures_of
    from globals_heads.settings import Settings, run_path
    from globals_heads.validation import validated
except ModuleNotFoundError as error:
    sys.exit(
        f"The Python that runs snakemake ({sys.executable}) lacks {error.name}: set up the "
        "environment with `make env`, activate it with `source .venv/bin/activate`, and try again."
    )

# Rules run `python -m globals_heads`, with the environment activated or not.
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
}

# An environment of conda (`--sdm conda`) holds what this package needs, but not the package itself,
# and Snakemake clears PYTHONPATH for it.
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    shell.prefix(f"export PYTHONPATH={shlex.quote(str(provenance.PACKAGE.parent))}; ")

FIGURE_FILES = ["svg", "png", "csv"]


def load_study(values):
    """Return the config as settings; end with one sentence before anything is planned."""
    try:
        study = validated(
            Settings, values, "config/config.yaml, --configfile or --config"
        )
        if study.data is not None:
            require_data(Path(study.data))
        require_results(Path("results"))
    except UserError as error:
        sys.exit(f"Error: {error}")
    return study


def require_data(path):
    """Raise UserError unless `path` is a file that can be read; its content is for the job."""
    remedy = "give the path of an HDF5 token file, or null to make events"
    # Of other names Snakemake makes no command, or none that its own log could hold.
    if not str(path).isprintable():
        raise UserError(
            f"The setting data is {str(path)!r}, whose name has line breaks, control characters or "
            "bytes that are no UTF-8; rename the file or link to it under another name."
        )
    try:
        path.stat()
    except OSError as error:
        raise UserError(
            f"The setting data is {str(path)!r}, which does not exist or cannot be looked at "
            f"({error.strerror}); {remedy}."
        )
    if not path.is_file():
        raise UserError(
            f"The setting data is {str(path)!r}, which is no file; {remedy}."
        )
    if set("{}") & set(str(path)):
        raise UserError(
            f"The setting data is {str(path)!r}, whose braces Snakemake takes for wildcards; "
            "rename the file or link to it under another name."
        )
    if not os.access(path, os.R_OK):
        raise UserError(
            f"The setting data is {str(path)!r}, which you may not read; {remedy}."
        )


def require_results(path):
    """Raise UserError if results could not be written."""
    remedy = "make it a folder you may write to, or work elsewhere with --directory"
    if path.exists() and not path.is_dir():
        raise UserError(f"{path.absolute()} is no folder; {remedy}.")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise UserError(f"{path.absolute()} cannot be written to; {remedy}.")


def token_file(wildcards):
    """Return the token file to pack: the user's, or the one made here."""
    if STUDY.data is None:
        return "results/data/generated/events.h5"
    # Its content is part of DATASET, so neither its time stamp nor the spelling of its path matters.
    return ancient(os.path.relpath(STUDY.data))


def shard_events(wildcards):
    """Return the number of events in a shard; the last one may hold fewer."""
    size = STUDY.simulate.shard_size
    return min(size, STUDY.num_events - int(wildcards.shard) * size)


def run_folder(wildcards):
    """Return the folder of a run, below results/."""
    return "{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}".format(**wildcards)


def settings_of(wildcards):
    """Return the settings of a run."""
    path = run_folder(wildcards)
    key = next(key for key in STUDY.runs if run_path(key.name) == path)
    return STUDY.run_settings(key)


def run_settings(wildcards):
    """Return the text of a run's cfg.yaml."""
    return yaml.safe_dump(settings_of(wildcards).model_dump(), sort_keys=False)


def run_files(pattern=None, runs=None):
    """Return one kind of file of runs, by default of all that are compared, or every kind."""
    runs = RUNS if runs is None else runs
    patterns = [pattern] if pattern else RUN_FILES
    return [f"results/{run_path(key.name)}/{name}" for key in runs for name in patterns]


def finished_runs():
    """Return the runs of this study that are there; those of other settings or data are not."""
    packed, made_from = Path(PACKED), {}
    if packed.exists():
        made_from["packed data"] = provenance.file_digest(packed)
    elif not packed.with_name("baselines.csv").exists():
        return []  # these data have never been packed, so no run was made from them
    return [
        key
        for key in STUDY.runs
        if manifest.is_finished(
            RunFolder.of(Path("results"), key.name),
            STUDY.run_settings(key),
            made_from,
        )
    ]


def figure_files():
    """Return all files of the figures that compare runs."""
    names = figures_of(STUDY)
    return expand("results/figures/{name}.{kind}", name=names, kind=FIGURE_FILES)


def figure_inputs(wildcards):
    """Return the files that a figure of the study reads."""
    figure = FIGURES[wildcards.figure]
    runs = [
        run_path(key.name) for key in RUNS if figure.reads_variants or not key.variant
    ]
    return expand(
        [f"results/{path}" for path in figure.inputs], dataset=DATASET, run=runs
    )


def figure_labels(wildcards):
    """Return what the report calls a figure of the study."""
    figure = FIGURES[wildcards.figure]
    return {"figure": figure.label, "metric": figure.metric}


def figure_caption(wildcards):
    """Return the caption of a figure of the study."""
    return caption_of(FIGURES[wildcards.figure], STUDY)


def run_figure_inputs(wildcards):
    """Return the files that a figure of a run reads."""
    paths = [f"results/{path}" for path in RUN_FIGURES[wildcards.figure].inputs]
    return expand(paths, run=run_folder(wildcards))


def run_figure_caption(wildcards):
    """Return the caption of a figure of a run."""
    return caption_of(RUN_FIGURES[wildcards.figure], settings_of(wildcards))


STUDY = load_study(config)
# Captions of the report read config, which may have left keys to their defaults.
config.update(STUDY.model_dump())
NUM_SHARDS = -(-STUDY.num_events // STUDY.simulate.shard_size)
DATASET = provenance.dataset_name(STUDY.data)
GRID = STUDY.grid.model_dump_json()
PLAIN_GRID = STUDY.grid.plain.model_dump_json()
PACKED = f"results/data/{DATASET}/packed.h5"
# Those that are compared: all, or the finished ones.
RUNS = STUDY.runs if STUDY.missing_runs == "train" else finished_runs()
COMPARED = {key.name for key in RUNS}
PLOT_CODE = provenance.code_digest(
    *(f"plot.{name}" for name in ("figures", "grid", "epochs", "physics", "variants"))
)
OBJECT_TYPES = json.dumps(STUDY.object_types)
RUN_FILES = [
    "cfg.yaml",
    "model.pt",
    "run.log",
    "facts/metrics_train.csv",
    "facts/metrics_val.csv",
    "facts/metrics_test.csv",
    "facts/events_test.npz",
    "facts/manifest_train.json",
    "facts/manifest_evaluate.json",
    *expand("figures/{name}.{kind}", name=RUN_FIGURES, kind=FIGURE_FILES),
]


def values_of(name, runs):
    """Return a regular expression for the values of one key column of these runs."""
    values = dict.fromkeys(str(key.columns[name]) for key in runs)
    return "(?:" + "|".join(re.escape(value) for value in values) + ")"


wildcard_constraints:
    grid="|".join(["runs", *(f"runs_{name}" for name in STUDY.variants)]),
    latent_space=values_of("latent_space", STUDY.runs),
    globals_beta=values_of("globals_beta", STUDY.runs),
    seed=values_of("seed", STUDY.runs),
    shard="|".join(str(shard) for shard in range(NUM_SHARDS)),
    dataset=re.escape(DATASET),
