"""The command line: one sub-command per step of the study, which parses options and calls.

    python -m globals_heads --help

Each sub-command imports its own stage inside the function, so that steps without torch start
at once.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from pydantic import BaseModel

from globals_heads.errors import UserError, brief
from globals_heads.facts import RunFolder
from globals_heads.files import is_locked, run_lock, write_text
from globals_heads.provenance import (
    code_digest,
    digest,
    file_digest,
    input_digests,
    write_manifest,
)
from globals_heads.settings import (
    ChooseSettings,
    CompareSettings,
    Grid,
    ObjectTypesSettings,
    PackSettings,
    PlotSettings,
    ReadSettings,
    RunSettings,
    Settings,
    SimulateSettings,
)
from globals_heads.status import (
    EVALUATED,
    read_status,
    recorded,
    rendered,
    update_record,
    watched,
)
from globals_heads.train.signals import EXIT_CODE, Stopped, stop_requests
from globals_heads.validation import M, load_yaml, require_other_path, require_pythia, validated

WATCH_INTERVAL_S = 2.0
PIPE_WIDTH = 1000

app = typer.Typer(
    help="The steps of the study; the workflow runs them, and so can you.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run one step.

    A problem that the user can solve ends the process with one sentence and exit code 1. A
    requested stop ends it with `signals.EXIT_CODE`; the same command resumes.
    """
    try:
        app()
    except UserError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:  # any other file that cannot be read or written
        sys.exit(
            f"Error: {brief(error)}; check that the file exists and is readable, that its folder "
            "is writable, and that the disk has room, then run the same command again."
        )
    except MemoryError as error:
        sys.exit(
            f"Error: this needs more memory than there is ({brief(error)}); take fewer events or "
            "a smaller model, or a larger machine."
        )
    except Stopped as stop:
        print(stop, flush=True)
        sys.exit(EXIT_CODE)


def _parsed(model: type[M]) -> Callable[[str], M]:
    """Return a function that reads a settings model from YAML or JSON."""
    return lambda text: validated(model, _loaded(text), "the command line")


def _object_types(text: str) -> dict[int, str]:
    # A user's file may have other object types than the simulation.
    return validated(
        ObjectTypesSettings, {"object_types": _loaded(text)}, "--object-types"
    ).object_types


def _loaded(text: str) -> Any:
    try:
        return load_yaml(text)
    except ValueError as error:
        raise UserError(
            f"{text[:200]!r} on the command line is neither JSON nor YAML ({error}); give a "
            "mapping such as '{\"key\": 1}'."
        ) from error


def settings_option(
    model: type[BaseModel],
    text: str = "The block of this step in config/config.yaml; missing keys have their defaults.",
) -> Any:
    """Return the option --settings, which holds a `model` as JSON or YAML."""
    return typer.Option("--settings", parser=_parsed(model), metavar="JSON", help=text)


def _record(
    manifest: Path, step: str, settings: BaseModel, outputs: list[Path], started: datetime
) -> None:
    """Write the manifest of a step with one thread, for `verify`."""
    inputs = {"settings": digest(settings.model_dump()), "code": code_digest(step)}
    write_manifest(manifest, manifest.parent, inputs, outputs, started, threads=1)


Output = Annotated[Path, typer.Argument(help="The file to make.")]
Run = Annotated[Path, typer.Argument(help="The run's folder, which holds its cfg.yaml.")]
Data = Annotated[Path, typer.Option(help="The packed file.")]
Model = Annotated[Path, typer.Argument(help="The model.pt of a run; nothing else is needed.")]
Layout = Literal["objects", "binned"]
Events = Literal["none", "generated", "given"]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
GridOption = Annotated[
    Grid, typer.Option(parser=_parsed(Grid), metavar="JSON", help="The axes of the study.")
]
SimulateOption = Annotated[SimulateSettings, settings_option(SimulateSettings)]
PlotOption = Annotated[PlotSettings, settings_option(PlotSettings)]
FigureName = Annotated[str, typer.Argument(help="Its name; a wrong one lists all names.")]
ObjectTypes = Annotated[
    Any,  # dict[int, str], which typer does not know
    typer.Option(parser=_object_types, metavar="JSON", help="Name of each object-type code."),
]
ResultsFolder = Annotated[Path, typer.Option(help="The folder of the study's results.")]
BaselinesFolder = Annotated[
    Path, typer.Option("--baselines", help="The folder of the data set, with its baselines.")
]


@app.command()
def simulate(
    output: Output,
    shard: Annotated[int, typer.Option(min=0, help="Number of the shard.")],
    num_events: Annotated[int, typer.Option(min=1, help="Accepted events in this shard.")],
    settings: SimulateOption,
    object_types: ObjectTypes,
) -> None:
    """Simulate one shard of events with Pythia, FastJet and a fast detector."""
    require_pythia()
    from globals_heads.data.sample import simulate_shard

    simulate_shard(settings, object_types, shard, num_events, output)


@app.command()
def merge(
    output: Output,
    shards: Annotated[Path, typer.Option(help="The folder of the shards.")],
    num_events: Annotated[int, typer.Option(min=10, help="Accepted events in all shards.")],
    settings: SimulateOption,
    object_types: ObjectTypes,
) -> None:
    """Merge shards into one token file with the splits train, val and test."""
    from globals_heads.data.sample import merge_shards

    names = [f"shard_{i}.h5" for i in range(settings.num_shards(num_events))]
    merge_shards([shards / name for name in names], settings, object_types, num_events, output)


@app.command()
def read(
    output: Output,
    files: Annotated[list[Path], typer.Argument(help="Files of events, in one format.")],
    report: Annotated[Path, typer.Option(help="The file to make that says what was read.")],
    settings: Annotated[ReadSettings, settings_option(ReadSettings)],
    object_types: ObjectTypes,
) -> None:
    """Read files of events and write a token file with the splits train, val and test."""
    from globals_heads.data import read as reading

    for made in (output, report):
        require_other_path(made, files)
    reading.read(files, settings, object_types, output, report)


@app.command()
def pack(
    events: Annotated[Path, typer.Argument(help="The token file.")],
    output: Output,
    settings: Annotated[PackSettings, settings_option(PackSettings)],
    object_types: ObjectTypes,
    unit: Annotated[str, typer.Option(help="Unit of energies: auto, MeV or GeV.")] = "auto",
) -> None:
    """Check a token file and pack it."""
    from globals_heads.data import pack as packing
    from globals_heads.data.token_file import read_token_file

    require_other_path(output, [events])
    given = validated(ReadSettings, {"unit": unit}, "--unit").unit
    splits, found = read_token_file(events, object_types, given)
    packing.pack(splits, object_types, settings, str(events), found, output)


@app.command()
def baselines(
    output: Output,
    errors: Annotated[Path, typer.Option(help="The file of the errors per event to make.")],
    manifest: Annotated[Path, typer.Option(help="The file to make that says from what.")],
    data: Data,
    settings: Annotated[RunSettings, settings_option(RunSettings, "As in a cfg.yaml.")],
    threads: Threads = 1,
) -> None:
    """Measure predictions of MET without the model under test."""
    from globals_heads.evaluate.baselines import measure_baselines
    from globals_heads.packed import open_packed

    started = datetime.now(UTC)
    inputs = input_digests("baselines", settings, file_digest(data))
    measure_baselines(open_packed(data), settings, output, errors, threads)
    outputs = (output, errors)
    write_manifest(manifest, manifest.parent, inputs, outputs, started, threads)


@app.command()
def train(
    run: Run,
    data: Data,
    threads: Threads = 1,
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="Stop when the starting process ends.")
    ] = False,
) -> None:
    """Train one run: its cfg.yaml in, its model.pt and facts out.

    Started again after an interruption, it goes on where it was. SIGTERM, SIGUSR1 and SIGINT make
    it save and leave with code 75; a second signal ends it at once.
    """
    folder, started = RunFolder(run), datetime.now(UTC)
    # Before torch, which takes seconds to import.
    with stop_requests(stop_with_parent) as stop:
        if is_locked(run):
            update_record(folder, state="waiting_for_lock")
        with (
            run_lock(run, lambda: stop.raise_if_asked("waiting for another process")),
            recorded(folder),
        ):
            from globals_heads.packed import open_packed
            from globals_heads.train import train as training
            from globals_heads.train.checkpoint import Checkpoint, checkpoint_key

            settings = folder.read_settings()
            inputs = input_digests("train", settings, file_digest(data))
            checkpoint = Checkpoint(folder.checkpoint, checkpoint_key(inputs, threads), stop)
            training.train(settings, open_packed(data), folder, threads, checkpoint)
            outputs = (folder.model, folder.metrics("train"), folder.metrics("val"))
            write_manifest(folder.manifest("train"), folder.path, inputs, outputs, started, threads)


@app.command()
def evaluate(run: Run, data: Data, threads: Threads = 1) -> None:
    """Measure one run's model.pt on the test split, and delete the checkpoint of its training."""
    from globals_heads.evaluate import evaluate as evaluation
    from globals_heads.packed import open_packed

    folder, started = RunFolder(run), datetime.now(UTC)
    settings = folder.read_settings()
    inputs = input_digests("evaluate", settings, file_digest(data))
    evaluation.evaluate(open_packed(data), folder, threads, settings)
    outputs = (folder.metrics("test"), folder.events("test"))
    write_manifest(folder.manifest("evaluate"), folder.path, inputs, outputs, started, threads)
    # Not before: when a Slurm job with several trainings is tried again, Snakemake deletes what the
    # finished ones have made; from their checkpoints they make it again at once.
    folder.checkpoint.unlink(missing_ok=True)
    print(EVALUATED)


@app.command()
def encode(
    model: Model,
    events: Annotated[Path, typer.Argument(help="The events to encode: a token file with splits.")],
    output: Output,
    layout: Annotated[
        Layout, typer.Option(help="objects: arrays of numbers; binned: one integer per object.")
    ] = "objects",
    unit: Annotated[str, typer.Option(help="Unit of energies: auto, MeV or GeV.")] = "auto",
    threads: Threads = 1,
) -> None:
    """Encode events with a model.pt: latents or codes, predicted MET, reconstruction error."""
    from globals_heads.export.encoded_file import encode_file

    require_other_path(output, [model, events])
    given = validated(ReadSettings, {"unit": unit}, "--unit").unit
    encode_file(model, events, output, layout, threads, given)


@app.command()
def decode(
    model: Model,
    encoded: Annotated[Path, typer.Argument(help="The encoded file, in any layout.")],
    output: Output,
    threads: Threads = 1,
) -> None:
    """Make a token file of the reconstructed events from an encoded file."""
    from globals_heads.export.encoded_file import decode_file

    require_other_path(output, [model, encoded])
    decode_file(model, encoded, output, threads)


@app.command()
def onnx(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="The folder of encoder.onnx and decoder.onnx.")],
) -> None:
    """Write the encoder and the decoder of a model.pt as ONNX files."""
    from globals_heads.export.onnx import export_onnx

    export_onnx(model, folder)


@app.command()
def downstream_events(
    output: Output,
    data: Data,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the classifier.")],
    threads: Threads = 1,
) -> None:
    """Tell tttt from the rest by the original events."""
    from globals_heads.downstream.classify import classify_events
    from globals_heads.packed import open_packed

    classify_events(open_packed(data), output, seed, threads)


@app.command()
def downstream_run(run: Run, data: Data, threads: Threads = 1) -> None:
    """Tell tttt from the rest by a run's reconstructed objects, and by its codes or latents."""
    from globals_heads.downstream.classify import classify_run
    from globals_heads.packed import open_packed

    classify_run(open_packed(data), RunFolder(run), threads)


@app.command()
def link_runs(
    output: Annotated[Path, typer.Argument(help="The folder of links to make.")],
    results: ResultsFolder,
    grid: GridOption,
) -> None:
    """Link the runs of the first seed by their numbers."""
    output.mkdir(parents=True, exist_ok=True)
    for number, key in enumerate(key for key in grid.runs if key.seed == 0):
        link = output / str(number)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(RunFolder.of(results, key.name).path, output))


@app.command()
def collect(
    output: Output,
    results: ResultsFolder,
    grid: GridOption,
    baselines: BaselinesFolder,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A run that counts as missing; may repeat.")
    ] = None,
) -> None:
    """Gather the facts of all runs into one table."""
    from globals_heads.compare import summary

    summary.collect(grid, results, baselines / "baselines.csv", output, leave_out or ())


@app.command()
def compare(
    results: ResultsFolder,
    baselines: BaselinesFolder,
    settings: Annotated[CompareSettings, settings_option(CompareSettings)],
    downstream_of: Annotated[
        Events, typer.Option(help="Add the numbers of the downstream stage; who made the events.")
    ] = "none",
) -> None:
    """Compare all cells and answer the study's questions.

    Makes comparison.csv, the verdict (verdict.md, verdict.html, verdict.json and its appendix
    verdict_numbers.csv) and the pages of both tables in the folder of the results.
    """
    from globals_heads.compare import verdict

    started = datetime.now(UTC)
    verdict.compare(results, baselines, settings, downstream_of)
    outputs = [*results.glob("verdict*.*"), *results.glob("tables/*"), results / "comparison.csv"]
    outputs += [results / "downstream.csv"] if downstream_of != "none" else []
    _record(results / "manifest_compare.json", "compare", settings, outputs, started)


@app.command()
def best(
    output: Annotated[Path, typer.Argument(help="The folder to make.")],
    results: ResultsFolder,
    baselines: BaselinesFolder,
    choose: Annotated[
        ChooseSettings,
        typer.Option(parser=_parsed(ChooseSettings), metavar="JSON", help="Which run."),
    ],
    pack: Annotated[
        PackSettings,
        typer.Option(parser=_parsed(PackSettings), metavar="JSON", help="As in the config."),
    ],
) -> None:
    """Copy the chosen run's model.pt and cfg.yaml; add a config overlay and a model card."""
    from globals_heads.export.best import copy_best

    copy_best(choose, pack, results, baselines, output)


@app.command()
def plot(
    figure: FigureName,
    output: Output,
    results: ResultsFolder,
    baselines: BaselinesFolder,
    grid: GridOption,
    settings: PlotOption,
) -> None:
    """Draw a figure of the study: an .svg, beside it the other formats and its numbers as .csv."""
    from globals_heads.plot.figures import draw
    from globals_heads.plot.inputs import Inputs

    started = datetime.now(UTC)
    draw(figure, Inputs(grid, results, baselines, settings), output)
    drawn = [output.with_suffix(f".{kind}") for kind in (*settings.formats, "csv")]
    _record(output.with_suffix(".json"), "plot", settings, drawn, started)


@app.command()
def plot_run(
    run: Run,
    figure: FigureName,
    settings: PlotOption,
) -> None:
    """Draw a figure of one run into the folder figures of the run."""
    from globals_heads.plot.figures import draw_run

    folder, started = RunFolder(run), datetime.now(UTC)
    draw_run(figure, folder, settings)
    drawn = [folder.figures / f"{figure}.{kind}" for kind in (*settings.formats, "csv")]
    _record(folder.figures / f"{figure}.json", "plot", settings, drawn, started)


@app.command()
def status(
    results: ResultsFolder = Path("results"),
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show where each run stands: running, done, failed, diverged or waiting."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not watch:
        # Piped into a file or another program, nothing is folded or cut.
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        console.print(rendered(read_status(results)), soft_wrap=not console.is_terminal)
        return
    with Live(console=console, auto_refresh=False) as live:
        for view in watched(results, WATCH_INTERVAL_S):
            live.update(view, refresh=True)


@app.command()
def verify(results: ResultsFolder = Path("results")) -> None:
    """Check that no finished file was changed by hand and that the summary is what the facts say.

    Checked are the files of all runs, their data and baselines, the comparison, verdict, tables
    and figures; not logs, results/best and the outputs of the classifiers (stage downstream).
    What no longer fits the config, the data or the code is what `snakemake -n` plans.
    """
    from globals_heads.verify import verify as check

    num_runs, problems = check(results)
    print(*problems, sep="\n", end="\n" if problems else "")
    if problems:
        raise typer.Exit(1)
    print(f"{num_runs} finished runs and the summary are as their steps have written them.")


@app.command()
def schema(output: Output) -> None:
    """Write the JSON schema of the configuration as YAML."""
    content = _without_titles(Settings.model_json_schema())
    write_text(output, yaml.safe_dump(content, sort_keys=False))


def _without_titles(value: Any) -> Any:
    # Pydantic's titles say the same as the names of the keys.
    if isinstance(value, dict):
        return {key: _without_titles(each) for key, each in value.items() if key != "title"}
    return [_without_titles(each) for each in value] if isinstance(value, list) else value
