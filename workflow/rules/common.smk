# The settings, the grid and the paths of the rules; no rules.

import difflib
import json
import os
import re
import shlex
import sys
from pathlib import Path

import yaml
from snakemake.cli import get_argument_parser
from snakemake.settings.types import DeploymentMethod

try:
    from globals_heads import provenance
    from globals_heads.data.formats import is_split_token_file, require_formats
    from globals_heads.errors import UserError
    from globals_heads.plot.figures import FIGURES, RUN_FIGURES, caption_of, figures_of
    from globals_heads.numbers import MIN_SEEDS
    from globals_heads.settings import Settings, run_path
    from globals_heads.study import forgotten, remember
    from globals_heads.terminal import STOPPED, Terminal, answer
    from globals_heads.validation import (
        data_files,
        require_data,
        require_pythia,
        require_results,
        validated,
    )
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

ROOT = Path(str(workflow.current_basedir)).parents[1]
RESULTS = Path("results")
# A wrong config ends with one sentence before anything is planned.
try:
    STUDY = validated(Settings, config, "config/config.yaml, --configfile or --config")
    require_data(STUDY.data)
    IS_TOKEN_FILE = is_split_token_file(require_formats(data_files(STUDY.data)))
    require_results(RESULTS)
    # Events that are there need no Pythia.
    made = RESULTS / "data" / provenance.source_name(STUDY) / "events.h5"
    if STUDY.data is None and STUDY.missing_runs == "train" and not made.exists():
        require_pythia()
    # A job parses this file, too, but it was started by a command that has passed.
    if workflow.is_main_process:
        COMMAND, _ = get_argument_parser().parse_known_args()
        given = workflow.config_settings.overwrite_config
        sentence, num_lost = forgotten(STUDY, given, RESULTS)
        if num_lost and not COMMAND.dryrun and not COMMAND.unlock:
            raise UserError(sentence)
        if sentence:
            print(f"Note: {sentence}", file=sys.stderr)
except UserError as error:
    sys.exit(f"Error: {error}")
# Captions of the report read config, which may have left keys to their defaults.
config.update(STUDY.model_dump())

# The folder of a run below results, <run> in the rules; grid is runs, or runs_NAME for a variant.
RUN = "{grid}/{latent_space}/beta_{globals_beta}/seed_{seed}"
RUN_KEYS = {run_path(key.name): key for key in STUDY.runs}
FIGURE_FILES = [*STUDY.plot.formats, "csv", "json"]
# Besides .svg, .csv and .json.
OTHER_FORMATS = [kind for kind in STUDY.plot.formats if kind != "svg"]
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

BEST_FILES = ["model.pt", "cfg.yaml", "overlay.yaml", "model_card.md"]

NUM_SHARDS = STUDY.simulate.num_shards(STUDY.num_events)
EVENTS = f"results/data/{provenance.source_name(STUDY)}"
DATASET = provenance.dataset_name(STUDY)
BASELINES = f"results/data/{DATASET}"
PACKED = f"{BASELINES}/packed.h5"
# With missing_runs: show, no data are made and nothing is trained. Trained runs are evaluated
# if there are packed data.
TRAIN = STUDY.missing_runs == "train"
MEASURE = TRAIN or Path(PACKED).exists()
if not TRAIN:  # classifiers are trained, too
    STUDY = STUDY.model_copy(update={"downstream": False})
if not MEASURE and not Path(BASELINES, "baselines.csv").exists():
    sys.exit(
        f"Error: {BASELINES} was never made, so there is nothing to show; run snakemake with "
        "missing_runs: train first, or give the settings of the finished study with "
        "--configfile results/study.yaml."
    )
# The runs that are compared.
RUNS = STUDY.runs
if not TRAIN:
    trained = provenance.finished_runs(STUDY, RESULTS, ["train"])
    RUNS = trained if MEASURE else provenance.finished_runs(STUDY, RESULTS)
    for key in trained:
        if key not in RUNS and workflow.is_main_process:
            print(f"Note: {key.name} is trained, not evaluated.", file=sys.stderr)
COMPARED = {key.name for key in RUNS}
GRID = STUDY.grid.model_dump_json()
PLAIN_GRID = STUDY.grid.plain.model_dump_json()
OBJECT_TYPES = json.dumps(STUDY.object_types)


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


def user_files(wildcards):
    """Return the user's files of events."""
    # DATASET holds a digest of the content, so neither time stamp nor spelling of the path matters.
    return [ancient(os.path.relpath(file)) for file in data_files(STUDY.data)]


def token_file(wildcards):
    """Return the token file to pack: the user's, or that of the events simulated or read."""
    if STUDY.data is None:
        return f"{EVENTS}/events.h5"
    return user_files(wildcards) if IS_TOKEN_FILE else f"{EVENTS}/tokens.h5"


def shard_events(wildcards):
    """Return the number of events in a shard; the last one may hold fewer."""
    size = STUDY.simulate.shard_size
    return min(size, STUDY.num_events - int(wildcards.shard) * size)


def run_key(wildcards):
    """Return the run of these wildcards; end with one sentence if the study has no such run."""
    path = RUN.format(**dict(wildcards.items()))
    if path not in RUN_KEYS:
        close = difflib.get_close_matches(path, RUN_KEYS, n=1, cutoff=0)
        sys.exit(
            f"Error: results/{path} is no run of this study (did you mean results/{close[0]}?); "
            "correct the path, or the axes in config/config.yaml, --configfile or --config."
        )
    return RUN_KEYS[path]


def require_run(wildcards):
    """Return no input files; end with one sentence if the study has no such run."""
    run_key(wildcards)
    return []


def run_settings(wildcards):
    """Return the text of a run's cfg.yaml."""
    settings = STUDY.run_settings(run_key(wildcards))
    # The C dumper is four times as fast, which counts with thousands of runs.
    return yaml.dump(settings.model_dump(), Dumper=yaml.CSafeDumper, sort_keys=False)


def run_files(*names):
    """Return these files, or all files, of the runs that are compared."""
    runs = [run_path(key.name) for key in RUNS]
    return expand("results/{run}/{name}", run=runs, name=names or RUN_FILES)


def downstream_files():
    """Return the outputs of all classifiers; none if the study has no downstream stage."""
    if not STUDY.downstream:
        return []
    seeds = sorted({key.seed for key in RUNS})
    originals = expand(f"{BASELINES}/downstream/seed_{{seed}}.npz", seed=seeds)
    return originals + run_files("facts/downstream_test.npz")


def figure_files():
    """Return all files of the figures that compare runs."""
    names = figures_of(STUDY)
    return expand("results/figures/{name}.{kind}", name=names, kind=FIGURE_FILES)


def inputs_of(figure, keys):
    """Return the files that a figure reads, if it shows these runs."""
    paths = [f"results/{path}" for path in figure.inputs]
    return expand(paths, dataset=DATASET, run=[run_path(key.name) for key in keys])


def in_reading_order(name):
    """Return what the report's list, sorted by this text, calls a figure of the study."""
    return f"{list(FIGURES).index(name) + 1:02d} {FIGURES[name].label}"


def figure_inputs(wildcards):
    """Return the files that a figure of the study reads."""
    figure = FIGURES[wildcards.figure]
    keys = [key for key in RUNS if figure.reads_variants or not key.variant]
    return inputs_of(figure, keys)


def require_targets():
    """End with one sentence if a target of the command is no file or rule of this study.

    A workflow that uses the study as a module has targets of its own.
    """
    if Path(workflow.main_snakefile).parent not in (ROOT, ROOT / "workflow"):
        return
    files = [str(file) for rule in workflow.rules for file in rule.output]
    files = [*rules.all.input, *(file for file in files if "{" not in file)]
    known = {name: f"make {name}" for name in ("report", "partial", "status")}
    known |= {part: file for file in files[::-1] for part in (*Path(file).parts, file)}
    names = [rule.name for rule in workflow.rules if not rule.has_wildcards()]
    known |= dict(zip(names, names))
    for target in COMMAND.targets:
        path = os.path.relpath(target)
        producers = (rule for rule in workflow.rules if rule.is_producer(path))
        if target not in known.values() and not any(producers):
            close = difflib.get_close_matches(path, known, n=3, cutoff=0)
            near = ", ".join(dict.fromkeys(known[part] for part in close))
            sys.exit(
                f"Error: {target} is no file and no rule of this study; did you mean {near}?"
            )


def num_jobs(*rules):
    """Return how many jobs of these rules the command runs or has run."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=False)
    return sum(job.rule.name in rules for job in jobs)


def with_more_seeds():
    """Return the command that goes on with this study and enough seeds for intervals."""
    options = f"--config seeds={MIN_SEEDS}"
    if workflow.config_settings.overwrite_config:
        options = f"--configfile {RESULTS}/study.yaml {options}"
    profiles = " ".join(COMMAND.profile or ())
    if "MAKELEVEL" in os.environ and profiles == "local":
        return f"make run ARGS='{options}'"
    return f"snakemake {f'--profile {profiles}' if profiles else '-j1'} {options}"


TERMINAL = Terminal(RESULTS)


onstart:
    # Snakemake's limit of jobs per second wakes its scheduler every second once more for each
    # finished job, until it keeps a whole core busy. The default limit is no limit here.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    remember(STUDY, RESULTS)
    TERMINAL.start(num_jobs("train"))


onsuccess:
    remember(STUDY, RESULTS)
    # Not after a command that made something else.
    if num_jobs("all", "compare"):
        print(answer(STUDY, RESULTS, with_more_seeds()), file=sys.stderr)


onerror:
    remember(STUDY, RESULTS)
    if TERMINAL.is_stopped:
        print(STOPPED, file=sys.stderr)
