"""Bad files at every step: one sentence and an exit code, no traceback, nothing finished lost."""

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch
import yaml
from damage import (
    UNREADABLE,
    absent,
    attribute,
    copied_from,
    cut,
    dataset,
    edited,
    empty,
    folder,
    noise,
    planted,
    repeated_line,
    text,
    without_column,
)
from random_events import OBJECT_TYPES, random_events, ready_events

from globals_heads import cli
from globals_heads.data import sample
from globals_heads.data.token_file import write_token_file
from globals_heads.facts import RunFolder
from globals_heads.packed import SPLITS
from globals_heads.settings import Settings, SimulateSettings
from globals_heads.train.signals import SIGNALS, Stopped

STUDY = Settings(
    latent_space=["none", "vq"],
    globals_beta=[1],
    epochs=2,
    model={"latent_dim": 4, "hidden_dims": [8], "type_embedding_dim": 2, "globals_hidden_dim": 4},
    bottleneck={"vq": {"codebook_size": 8}},
    train={"device": "cpu", "batch_size": 16},
)
NONE, VQ = "runs/none/beta_1/seed_0", "runs/vq/beta_1/seed_0"
CFG, MODEL, FACTS = f"{VQ}/cfg.yaml", f"{VQ}/model.pt", f"{VQ}/facts"
SHARDS = SimulateSettings(shard_size=10)
# Without these two rights the permissions of files hold for root as for anybody.
AS_ANYBODY = ("setpriv", "--inh-caps=-dac_override,-dac_read_search")
AS_ANYBODY += ("--bounding-set=-dac_override,-dac_read_search",)


def command_lines():
    """Return the command line of each step, with paths inside the study's folder."""
    grid, types = STUDY.grid.model_dump_json(), json.dumps(OBJECT_TYPES)
    data = ["--data", "packed.h5", "--threads", "1"]
    network = ["--settings", STUDY.globals_only_network.model_dump_json()]
    return {
        "merge": [
            *("merged.h5", "--shards", "shards", "--num-events", "20"),
            *("--settings", SHARDS.model_dump_json(), "--object-types", types),
        ],
        "pack": ["tokens.h5", "packed.h5", "--settings", "{}", "--object-types", types],
        "baselines": [
            *("baselines.csv", "--errors", "events_test.npz", "--manifest", "manifest.json"),
            *(*data, *network),
        ],
        "train": [VQ, *data],
        "evaluate": [VQ, *data],
        "encode": [f"{VQ}/model.pt", "tokens.h5", "encoded.h5"],
        "decode": [f"{VQ}/model.pt", "encoded.h5", "decoded.h5"],
        "onnx": [f"{VQ}/model.pt", "onnx"],
        "downstream-events": ["downstream/seed_0.npz", "--seed", "0", *data],
        "downstream-run": [VQ, *data],
        "collect": [
            *("summary.csv", "--results", ".", "--grid", grid),
            *("--baselines", "."),
        ],
        "compare": ["--results", ".", "--baselines", ".", "--settings", "{}"],
        "best": [
            *("best", "--results", ".", "--baselines", ".", "--pack", "{}"),
            *("--choose", "{latent_space: vq, globals_beta: 1}"),
        ],
        "plot-run": [VQ, "curves", "--settings", "{}"],
        "plot": [
            *("tradeoff", "tradeoff.svg", "--results", ".", "--baselines", "."),
            *("--grid", grid, "--settings", "{}"),
        ],
        "link-runs": ["by_number", "--results", ".", "--grid", grid],
        "status": ["--results", "."],
        "verify": ["--results", "."],
    }


STEPS = command_lines()


def run(step, *arguments):
    """Run a step as `python -m globals_heads` does; return what it exits with."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["globals_heads", step, *(arguments or STEPS[step])])
        try:
            cli.main()
        except SystemExit as end:
            return end.code
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a small study of two runs, made by the steps themselves."""
    path = tmp_path_factory.mktemp("finished")
    splits = {name: random_events(40, seed) for seed, name in enumerate(SPLITS)}
    write_token_file(path / "tokens.h5", splits, OBJECT_TYPES, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(sample, "_accepted_events", ready_events)
        for shard in (0, 1):
            output = path / f"shards/shard_{shard}.h5"
            sample.simulate_shard(SHARDS, OBJECT_TYPES, shard, 10, output)
        for step in ("merge", "pack", "baselines"):
            assert run(step) == 0
        for key in STUDY.runs:
            run_folder = RunFolder.of(path, key.name)
            run_folder.path.mkdir(parents=True)
            run_folder.settings.write_text(yaml.safe_dump(STUDY.run_settings(key).model_dump()))
            for step in ("train", "evaluate"):
                assert run(step, str(run_folder.path.relative_to(path)), *STEPS[step][1:]) == 0
        for step in ("encode", "collect", "compare"):
            assert run(step) == 0
    return path


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    """A copy of the finished study, to spoil; the working directory."""
    path = shutil.copytree(finished, tmp_path / "study")
    monkeypatch.chdir(path)
    return path


def contents(path):
    """Return what each file holds, lock and status of a training apart."""
    return {
        each: each.read_bytes()
        for each in path.rglob("*")
        if each.is_file() and each.name not in (".lock", "status.json")
    }


def twice(path):
    with h5py.File(path, "r+") as file:
        file["x_TRAIN"] = file["X_train"][...]


def claims_to_be_huge(path):
    with h5py.File(path, "r+") as file:
        del file["X_train"]
        file.create_dataset("X_train", (10**13, 92), "f4", chunks=(1000, 92))


class Hostile:
    """An object that runs a command when it is unpickled without care."""

    def __reduce__(self):
        return os.mkdir, ("hacked",)


def hostile_torch(path):
    torch.save(Hostile(), path)


def hostile_pickle(path):
    path.write_bytes(pickle.dumps(Hostile()))


def hostile_npz(path):
    np.savez(path, **{"linear_fit_error": np.array([Hostile()], dtype=object)})


def compressed_noise(path):
    """A .npz whose member cannot be decompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("linear_fit_error.npy", bytes(5000))
    content = bytearray(buffer.getvalue())
    content[55:65] = b"\xff" * 10
    path.write_bytes(content)


def arrays(change):
    def replace(path):
        with np.load(path) as content:
            np.savez(path, **{name: change(content[name]) for name in content.files})

    return replace


def model(*keys, value):
    """Set one entry of a model.pt."""

    def replace(path):
        content = torch.load(path, weights_only=True)
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        torch.save(content, path)

    return replace


def info(**changes):
    """Change entries of the packed file's attribute info."""

    def replace(path):
        with h5py.File(path, "r+") as file:
            file.attrs["info"] = json.dumps(json.loads(file.attrs["info"]) | changes)

    return replace


DEEP = "[" * 600
WEIGHT = ("weights", "encoder.0.weight")
# Step, file, damages, and a part of the sentence besides the file's name.
BAD = [
    # token files; unit/data/test_checks.py has the bad rows
    ("pack", "tokens.h5", UNREADABLE, "token file"),
    ("pack", "tokens.h5", [twice], "delete one of them"),
    ("pack", "tokens.h5", [claims_to_be_huge], "40 labels for 10000000000000 events"),
    ("pack", "tokens.h5", [dataset("X_train", planted((3, 50), np.nan))], "remove or repair"),
    (
        "pack",
        "tokens.h5",
        [attribute("object_types", value) for value in (3 * DEEP, np.zeros(3))],
        "correct or delete it",
    ),
    ("pack", "tokens.h5", [copied_from("packed.h5")], "has no data set X_train"),
    # shards
    ("merge", "shards/shard_1.h5", (absent, cut, folder), "made again"),
    ("merge", "shards/shard_1.h5", [copied_from("shards/shard_0.h5")], "different shards"),
    ("merge", "shards/shard_1.h5", [copied_from("tokens.h5")], "cannot be read as a shard"),
    ("merge", "shards/shard_1.h5", [dataset("X", lambda x: x[:, :7])], "the shapes (10, 7)"),
    ("merge", "shards/shard_1.h5", [attribute("counts", "{")], "cannot be read as a shard"),
    # packed files; unit/test_packed.py has more
    ("train", "packed.h5", UNREADABLE, "packed"),
    ("train", "packed.h5", [copied_from("tokens.h5"), attribute("info", "[]")], "as a packed file"),
    ("train", "packed.h5", [attribute("schema_version", 99)], "schema version 99"),
    ("baselines", "packed.h5", [cut], "as a packed file"),
    # settings of a run
    ("train", CFG, (absent, empty, noise, folder), "cfg.yaml"),
    (
        "train",
        CFG,
        [text(DEEP), text("epochs: 2024-99-99"), text("!!python/object/apply:os.mkdir [hacked]")],
        "cannot be read as YAML",
    ),
    ("train", CFG, [text("a: &a [*a]")], "cfg.yaml"),
    ("train", CFG, [edited("latent_dim: 4", f"latent_dim: 1{'0' * 30}")], "latent_dim"),
    ("train", CFG, [edited("epochs: 2", f"epochs: 0x{'f' * 9999}")], "epochs"),
    ("train", CFG, [edited("seed: 0", "seed: 99999999999999999999")], "seed"),
    ("train", CFG, [edited("codebook_size: 8", "codebook_size: []")], "codebook_size"),
    ("plot-run", CFG, [cut], "cfg.yaml"),
    # models
    (
        "evaluate",
        MODEL,
        (*UNREADABLE, hostile_torch, hostile_pickle),
        "as a model.pt",
    ),
    (
        "evaluate",
        MODEL,
        [
            model(*WEIGHT, value=torch.full((8, 7), torch.nan)),
            model(*WEIGHT, value=torch.zeros(3, 3)),
            model("schema_version", value="9"),
            model("settings", value=[1, 2]),
        ],
        "model.pt",
    ),
    ("evaluate", MODEL, [copied_from(f"{NONE}/model.pt")], "other settings"),
    ("evaluate", "packed.h5", [info(met_scale_gev=1.0)], "other packed data"),
    # models out of their study; unit/export has the bad numbers
    ("encode", MODEL, (absent, noise, hostile_torch), "copy it again"),
    ("encode", MODEL, [model("schema_version", value=1)], "schema version 1"),
    ("encode", MODEL, [model("diverged", value=True)], "diverged"),
    ("onnx", MODEL, [cut], "copy it again"),
    ("downstream-run", MODEL, [cut], "as a model.pt"),
    ("downstream-run", "packed.h5", [info(met_scale_gev=1.0)], "other packed data"),
    ("downstream-events", "packed.h5", [dataset("val/labels", lambda y: y * 0)], "label 1 (tttt)"),
    ("encode", "tokens.h5", UNREADABLE, "token file"),
    ("encode", "tokens.h5", [dataset("X_val", planted((3, 2), 8.0))], "object type 8"),
    ("decode", "encoded.h5", UNREADABLE, "cannot be read as an encoded file"),
    ("decode", "encoded.h5", [copied_from("tokens.h5")], "cannot be read as an encoded file"),
    ("decode", MODEL, [copied_from(f"{NONE}/model.pt")], "another model"),
    ("best", "events_test.npz", (absent, cut, hostile_npz), "what the data were packed from"),
    ("best", "comparison.csv", [without_column("low")], "lacks low"),
    ("best", f"{VQ}/cfg.yaml", [cut], "cfg.yaml"),
    ("best", "summary.csv", [noise], "summary.csv"),
    # facts
    (
        "collect",
        f"{FACTS}/metrics_val.csv",
        (empty, noise, repeated_line, without_column("loss")),
        "run snakemake again",
    ),
    ("collect", f"{FACTS}/metrics_val.csv", [edited("vq,1,0,,2", "vq,1,0,,3")], "epochs 1 to 2"),
    ("collect", f"{FACTS}/metrics_train.csv", [edited("\nvq/beta_1", "\nvq/beta_7")], "vq/beta_7"),
    ("collect", f"{FACTS}/metrics_train.csv", [edited(",0.001,", ",fast,")], "fast"),
    ("collect", f"{FACTS}/metrics_test.csv", [repeated_line], "twice"),
    ("collect", f"{FACTS}/metrics_test.csv", [without_column("value")], "lacks value"),
    *(
        ("collect", f"{FACTS}/{name}", [copied_from(f"{NONE}/facts/{name}")], "only vq")
        for name in ("metrics_val.csv", "metrics_test.csv")
    ),
    ("collect", "baselines.csv", (absent, empty, folder), "baselines.csv"),
    # errors per event
    (
        "compare",
        "events_test.npz",
        (absent, empty, cut, folder, hostile_pickle, hostile_npz, compressed_noise),
        "one number per test event",
    ),
    ("compare", f"{FACTS}/events_test.npz", [arrays(lambda x: x * np.nan)], "NaN"),
    ("compare", f"{FACTS}/events_test.npz", [arrays(lambda x: x[:-1])], "other test events"),
    ("compare", f"{FACTS}/events_test.npz", [copied_from("events_test.npz")], "one number per"),
    # tables
    ("compare", "summary.csv", (absent, empty, noise, folder), "summary.csv"),
    ("compare", "summary.csv", [repeated_line], "twice"),
    ("compare", "summary.csv", [edited(",ok,", ",fine,")], "status fine"),
    ("compare", "summary.csv", [without_column("perplexity")], "lacks perplexity"),
    ("plot", "summary.csv", [edited("vq/beta_1", "vq/beta_2")], "has no row of vq"),
    ("plot", "comparison.csv", [without_column("low")], "lacks low"),
    # what is asked about a finished study
    ("status", "runs", [shutil.rmtree], "holds no run"),
    ("verify", "summary.csv", [empty], "run snakemake again"),
    ("link-runs", "summary.csv", [lambda path: path.rename("by_number")], "by_number"),
]
CASES = [
    pytest.param(step, name, damage, part, id=f"{step}-{name}-{part}-{number}")
    for step, name, damages, part in BAD
    for number, damage in enumerate(damages)
]


def assert_one_sentence(message):
    assert isinstance(message, str), f"it exits with {message}"
    assert message.startswith("Error: ")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 1000


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(("step", "name", "damage", "part"), CASES)
def test_a_bad_file_ends_with_one_sentence(study, step, name, damage, part):
    damage(study / name)
    before = contents(study)
    message = run(step)
    assert_one_sentence(message)
    assert part in message
    assert contents(study) == before
    assert not (study / "hacked").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--settings", "{"),
        ("--settings", DEEP),
        ("--settings", "epochs: 2024-99-99"),
        ("--settings", "{features: 5}"),
        ("--object-types", "[1, 2]"),
        ("--object-types", json.dumps({i: f"type {i}" for i in range(1, 300)})),
    ],
)
def test_a_bad_option_ends_with_one_sentence(study, option, value):
    arguments = [*STEPS["pack"]]
    arguments[arguments.index(option) + 1] = value
    before = contents(study)
    assert_one_sentence(run("pack", *arguments))
    assert contents(study) == before


@pytest.mark.parametrize("damage", [empty, cut, noise, hostile_torch, hostile_pickle])
def test_a_bad_checkpoint_is_named_and_not_used(study, damage, capsys):
    """Training then starts from nothing, and runs no code of it."""
    checkpoint = study / VQ / "checkpoint.pt"
    shutil.copy(study / MODEL, checkpoint)
    damage(checkpoint)
    assert run("train") == 0
    assert "checkpoint.pt is damaged and not used" in capsys.readouterr().out
    assert not (study / "hacked").exists()


@pytest.mark.parametrize(
    ("step", "name", "part"),
    [
        ("pack", "tokens.h5", "is not readable"),
        ("collect", f"{FACTS}/metrics_val.csv", "Error: .*Permission denied.*"),
    ],
)
def test_a_file_that_may_not_be_read_is_named(study, step, name, part):
    prefix = () if os.geteuid() else AS_ANYBODY
    if prefix and subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("root may read everywhere, and setpriv cannot take that right away")
    (study / name).chmod(0)
    command = [*prefix, sys.executable, "-m", "globals_heads", step, *STEPS[step]]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode in (1, 2)  # 2 where the command line names the file
    assert re.search(part, ended.stderr)
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(5, "Input/output error", "summary.csv"), "Error: .*Input/output error.*again"),
        (MemoryError("Unable to allocate 9 TiB"), "Error: .*more memory.*9 TiB.*fewer events"),
        (Stopped("SIGTERM", "after 2 epochs"), "75"),
    ],
)
def test_other_ends_of_a_step(monkeypatch, error, code):
    """A disk that fails, a machine too small, and a request to stop."""

    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert re.match(code, str(end.value.code))
