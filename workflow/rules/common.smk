# The settings, the grid and the paths of the rules; no rules.

import difflib
import json
import os
import re
import shlex
import sys
from pathlib import Path

import yaml
from snakemake.settings.types import DeploymentMethod

try:
    from globals_heads import provenance
    from globals_heads.errors import UserError
    from globals_heads.settings import DISCRETE, Settings, run_path
    from globals_heads.validation import require_data, require_results, validated
except ModuleNotFoundError as error:
    sys.exit(
        f"The Python that runs snakemake ({sys.executable}) lacks {error.name}: set up the "
        "environment with `make env`, activate it with `source .venv/bin/activate`, and try again."
    )

# Rules run `python -m globals_heads`, even if the environment is not activated.
os.environ |= {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
}

# A conda environment (`--sdm conda`) holds the packages that this one needs, but not this one, and
# Snakemake clears PYTHONPATH in it.
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    shell.prefix(f"export PYTHONPATH={shlex.quote(str(provenance.PACKAGE.parent))}; ")

# A wrong config ends with one sentence before anything is planned.
try:
    STUDY = validated(Settings, config, "config/config.yaml, --configfile or --config")
    require_data(STUDY.data)
    require_results(Path("results"))
except UserError as error:
    sys.exit(f"Error: {error}")
# Captions of the report read config, which may have left keys to their defaults.
config.update(STUDY.model_dump())

# The folder of a run below results, <run> in the rules; grid is runs, or runs_NAME for a variant.
RUN = "{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}"
RUN_KEYS = {run_path(key.name): key for key in STUDY.runs}
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
    "figures/curves.svg",
    "figures/curves.png",
    "figures/curves.csv",
]
# The runs that are compared: all of them, or the finished ones.
RUNS = (
    STUDY.runs
    if STUDY.missing_runs == "train"
    else provenance.finished_runs(STUDY, Path("results"))
)
COMPARED = {key.name for key in RUNS}
PLAIN_RUNS = [key for key in RUNS if not key.variant]
CODEBOOK_RUNS = [key for key in PLAIN_RUNS if key.latent_space in DISCRETE]

NUM_SHARDS = -(-STUDY.num_events // STUDY.simulate.shard_size)
DATASET = provenance.dataset_name(STUDY.data)
PACKED = f"results/data/{DATASET}/packed.h5"
GRID = STUDY.grid.model_dump_json()
PLAIN_GRID = STUDY.grid.plain.model_dump_json()
OBJECT_TYPES = json.dumps(STUDY.object_types)
HEATMAPS = [
    "rec_tokens",
    "probe_rec_globals",
    "rec_globals",
    "reco_objects_rec_globals",
    "val_loss",
]


pathvars:
    run=RUN,


wildcard_constraints:
    # Which combinations are runs of the study is for require_run to say.
    grid="runs(_[a-z0-9_]+)?",
    latent_space="[^/]+",
    globals_beta="[^/]+",
    seed="[^/]+",
    shard="|".join(str(shard) for shard in range(NUM_SHARDS)),
    dataset=re.escape(DATASET),
    metric="|".join(HEATMAPS),


def token_file(wildcards):
    """Return the token file to pack: the user's, or the simulated events."""
    if STUDY.data is None:
        return "results/data/generated/events.h5"
    # DATASET holds a digest of the content, so neither time stamp nor spelling of the path matters.
    return ancient(os.path.relpath(STUDY.data))


def shard_events(wildcards):
    """Return the number of events in a shard; the last one may hold fewer."""
    size = STUDY.simulate.shard_size
    return min(size, STUDY.num_events - int(wildcards.shard) * size)


def require_run(wildcards):
    """Return no input files; end with one sentence if the study has no such run."""
    path = RUN.format(**dict(wildcards.items()))
    if path not in RUN_KEYS:
        close = difflib.get_close_matches(path, RUN_KEYS, n=1, cutoff=0)
        sys.exit(
            f"Error: results/{path} is no run of this study (did you mean results/{close[0]}?); "
            "correct the path, or the axes in config/config.yaml, --configfile or --config."
        )
    return []


def run_settings(wildcards):
    """Return the text of a run's cfg.yaml."""
    key = RUN_KEYS[RUN.format(**dict(wildcards.items()))]
    return yaml.safe_dump(STUDY.run_settings(key).model_dump(), sort_keys=False)


def run_files(pattern=None, runs=None):
    """Return one kind of file, or all kinds, of these runs or of all that are compared."""
    runs = RUNS if runs is None else runs
    patterns = [pattern] if pattern else RUN_FILES
    return [f"results/{run_path(key.name)}/{name}" for key in runs for name in patterns]


def comparison_figures():
    """Return all figures that compare runs."""
    names = [f"heatmap_{metric}" for metric in HEATMAPS]
    names += ["tradeoff", "chain", "met", "residuals", "learning_curves"]
    if set(STUDY.latent_space) & set(DISCRETE):
        names.append("codebook")
    if any(variant.only_latent_dim for variant in STUDY.variants.values()):
        names.append("latent_dim")
    if not all(variant.only_latent_dim for variant in STUDY.variants.values()):
        names.append("variants")
    return [
        f"results/figures/{name}.{kind}"
        for name in names
        for kind in ("svg", "png", "csv")
    ]


def study_results(wildcards):
    """Return all that the plain command makes."""
    return rules.all.input


def config_options():
    """Return the options that give another snakemake the config of this one."""
    settings = workflow.config_settings
    files = [os.path.abspath(path) for path in settings.configfiles]
    options = {"--configfile": files, "--config": settings.config_args}
    return [
        part for key, values in options.items() if values for part in (key, *values)
    ]
