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
from random_events import OBJECT_TYPES, random_events

from globals_heads import cli
from globals_heads.data import sample
from globals_heads.data.token_file import write_token_file
from globals_heads.facts import RunFolder
from globals_heads.settings import Settings, SimulateSettings
from globals_heads.train.signals import SIGNALS

STUDY = Settings(
    latent_space=["none", "vq"],
    globals_beta=[1],
    epochs=2,
    model={"latent_dim": 4, "hidden_dims": [8], "type_embedding_dim": 2, "globals_hidden_dim": 4},
    bottleneck={"vq": {"codebook_size": 8}},
    train={"device": "cpu", "batch_size": 16},
)
NONE, VQ = "runs/none/beta_1/seed_0", "runs/vq/beta_1/seed_0"
SHARDS = SimulateSettings(shard_size=10)
# Without these two rights the permissions of files hold for root as for anybody.
AS_ANYBODY = ("setpriv", "--inh-caps=-dac_override,-dac_read_search")
AS_ANYBODY += ("--bounding-set=-dac_override,-dac_read_search",)


def command_lines():
    """Return the command line of each step, with paths inside the study's folder."""
    grid, types = STUDY.grid.model_dump_json(), json.dumps(OBJECT_TYPES)
    data = ["--data", "packed.h5", "--threads", "1"]
    made_from = ["--settings", "{}", "--object-types", types]
    network = ["--settings", STUDY.globals_only_network.model_dump_json()]
    return {
        "merge": [
            *("merged.h5", "--shards", "shards", "--num-events", "20"),
            *("--settings", SHARDS.model_dump_json(), "--object-types", types),
        ],
        "pack": ["tokens.h5", "packed.h5", *made_from],
        "baselines": [
            *("baselines.csv", "--errors", "events_test.npz", "--manifest", "manifest.json"),
            *(*data, *network),
        ],
        "train": [VQ, *data],
        "evaluate": [VQ, *data],
        "collect": [
            *("summary.csv", "--results", ".", "--grid", grid),
            *("--baselines", "."),
        ],
        "compare": ["--results", ".", "--baselines", ".", "--settings", "{}"],
        "plot-run": [VQ, "--settings", "{}"],
        "plot": [
            *("tradeoff", "tradeoff.svg", "--results", ".", "--baselines", "."),
            *("--grid", grid, "--settings", "{}"),
        ],
        "link-runs": ["by_number", "--results", ".", "--grid", grid],
        "status": ["--results", "."],
        "verify": ["--results", "."],
    }


STEPS = command_lines()


def run(folder, step, *arguments):
    """Run a step in `folder` as `python -m globals_heads` does; return what it exits with."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
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
    folder = tmp_path_factory.mktemp("finished")
    splits = {name: random_events(40, seed) for seed, name in enumerate(("train", "val", "test"))}
    write_token_file(folder / "tokens.h5", splits, OBJECT_TYPES, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "_accepted_batches", lambda *of: [(random_events(of[-1]), of[-1])])
        for shard in (0, 1):
            path = folder / f"shards/shard_{shard}.h5"
            sample.simulate_shard(SHARDS, OBJECT_TYPES, shard, 10, path)
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(STUDY.model_dump()))
    for step in ("merge", "pack", "baselines"):
        assert run(folder, step) == 0
    for key in STUDY.runs:
        run_folder = RunFolder.of(folder, key.name)
        run_folder.path.mkdir(parents=True)
        run_folder.settings.write_text(yaml.safe_dump(STUDY.run_settings(key).model_dump()))
        for step in ("train", "evaluate"):
            path = str(run_folder.path.relative_to(folder))
            assert run(folder, step, path, *STEPS[step][1:]) == 0
    for step in ("collect", "compare"):
        assert run(folder, step) == 0
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study, to spoil."""
    return shutil.copytree(finished, tmp_path / "study")


def contents(folder):
    """Return what each file holds, logs of writers apart."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def absent(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: np.random.default_rng(len(path.name)).integers(len(content))])


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(3000))


def folder(path):
    path.unlink()
    path.mkdir()


def text(content):
    def write(path):
        path.write_text(content)

    write.__name__ = f"text_{content[:20]}"
    return write


def edited(old, new):
    def replace(path):
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    replace.__name__ = f"{old[:20]}_becomes_{new[:20]}".replace("\n", "_")
    return replace


def copied_from(name):
    def copy(path):
        root = next(parent for parent in path.parents if (parent / "tokens.h5").exists())
        shutil.copy(root / name, path)

    copy.__name__ = f"copied_from_{name.replace('/', '_')}"
    return copy


def repeated_line(path):
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]))


def without_column(name):
    def remove(path):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        place = rows[0].index(name)
        path.write_text("\n".join(",".join(r[:place] + r[place + 1 :]) for r in rows) + "\n")

    remove.__name__ = f"without_{name}"
    return remove


def dataset(name, change):
    def replace(path):
        with h5py.File(path, "r+") as file:
            values = change(file[name][...])
            del file[name]
            file[name] = values

    replace.__name__ = f"{name.replace('/', '_')}_changed"
    return replace


def attribute(name, value):
    def replace(path):
        with h5py.File(path, "r+") as file:
            file.attrs[name] = value

    replace.__name__ = f"{name}_is_{str(value)[:10]}"
    return replace


def planted(place, value):
    """Put one value into an array."""

    def change(values):
        values[place] = value
        return values

    return change


def twice(path):
    with h5py.File(path, "r+") as file:
        file["x_TRAIN"] = file["X_train"][...]


def claims_to_be_huge(path):
    with h5py.File(path, "r+") as file:
        del file["X_train"]
        file.create_dataset("X_train", (10**13, 92), "f4", chunks=(1000, 92))


class Hostile:
    """What runs a command when it is unpickled without care."""

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

    replace.__name__ = "arrays_changed"
    return replace


def model(change):
    def replace(path):
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    replace.__name__ = "model_changed"
    return replace


def nan_weight(content):
    next(iter(content["weights"].values())).fill_(torch.nan)


def other_shape(content):
    content["weights"]["encoder.0.weight"] = torch.zeros(3, 3)


def other_version(content):
    content["schema_version"] = "9"


def no_settings(content):
    content["settings"] = [1, 2]


def info(**changes):
    def replace(path):
        with h5py.File(path, "r+") as file:
            file.attrs["info"] = json.dumps(json.loads(file.attrs["info"]) | changes)

    replace.__name__ = f"info_{next(iter(changes))}"
    return replace


DEEP = "[" * 2000
FACTS = f"{VQ}/facts"
# Step, file, what happens to it, and a part of the sentence besides the file's name.
BAD = [
    # token files
    *(("pack", "tokens.h5", spoil, "token file") for spoil in (absent, empty, cut, noise, folder)),
    ("pack", "tokens.h5", twice, "delete one of them"),
    ("pack", "tokens.h5", claims_to_be_huge, "cannot be read"),
    ("pack", "tokens.h5", dataset("X_train", planted((3, 50), np.nan)), "remove or repair"),
    ("pack", "tokens.h5", dataset("X_train", planted((3, 18), 1e30)), "no collider"),
    ("pack", "tokens.h5", dataset("X_test", lambda x: x[:, :-1]), "92-column layout"),
    ("pack", "tokens.h5", dataset("Y_val", lambda y: planted(2, np.nan)(y * 1.0)), "label nan"),
    ("pack", "tokens.h5", dataset("Y_val", lambda y: y + 0.5), "only integers"),
    ("pack", "tokens.h5", dataset("Y_val", lambda y: y * 1e30), "only integers"),
    ("pack", "tokens.h5", dataset("Y_val", lambda y: y[1:]), "exactly one"),
    ("pack", "tokens.h5", attribute("object_types", DEEP), "correct or delete it"),
    ("pack", "tokens.h5", attribute("object_types", np.zeros(3)), "correct or delete it"),
    ("pack", "tokens.h5", copied_from("packed.h5"), "has no data set X_train"),
    # shards
    *(("merge", "shards/shard_1.h5", spoil, "made again") for spoil in (absent, cut, folder)),
    ("merge", "shards/shard_1.h5", copied_from("shards/shard_0.h5"), "different shards"),
    ("merge", "shards/shard_1.h5", copied_from("tokens.h5"), "cannot be read as a shard"),
    ("merge", "shards/shard_1.h5", dataset("X", lambda x: x[:, :7]), "cannot be read as a shard"),
    ("merge", "shards/shard_1.h5", attribute("counts", "{"), "cannot be read as a shard"),
    # packed files
    *(("train", "packed.h5", spoil, "packed") for spoil in (absent, empty, cut, noise, folder)),
    ("train", "packed.h5", copied_from("tokens.h5"), "no packed file"),
    ("train", "packed.h5", attribute("info", "[]"), "no packed file"),
    ("train", "packed.h5", attribute("schema_version", 99), "schema version 99"),
    ("train", "packed.h5", dataset("val/offsets", lambda x: x[::-1]), "contradict"),
    ("train", "packed.h5", dataset("val/offsets", lambda x: x + 1), "contradict"),
    ("train", "packed.h5", dataset("train/types", lambda x: x + 100), "types beyond"),
    ("train", "packed.h5", dataset("train/features", lambda x: x * np.nan), "not finite"),
    ("train", "packed.h5", dataset("train/globals", lambda x: x[:3]), "contradict"),
    ("train", "packed.h5", info(features=[]), "no packed file"),
    ("baselines", "packed.h5", cut, "no packed file"),
    # settings of a run
    *(("train", f"{VQ}/cfg.yaml", spoil, "cfg.yaml") for spoil in (absent, empty, noise, folder)),
    ("train", f"{VQ}/cfg.yaml", text(DEEP), "no YAML file"),
    ("train", f"{VQ}/cfg.yaml", text("a: &a [*a]"), "cfg.yaml"),
    ("train", f"{VQ}/cfg.yaml", text("epochs: 2024-99-99"), "no YAML file"),
    ("train", f"{VQ}/cfg.yaml", text("!!python/object/apply:os.mkdir [hacked]"), "no YAML file"),
    ("train", f"{VQ}/cfg.yaml", edited("latent_dim: 4", f"latent_dim: 1{'0' * 30}"), "latent_dim"),
    ("train", f"{VQ}/cfg.yaml", edited("epochs: 2", f"epochs: 0x{'f' * 9999}"), "epochs"),
    ("train", f"{VQ}/cfg.yaml", edited("seed: 0", "seed: 99999999999999999999"), "seed"),
    ("train", f"{VQ}/cfg.yaml", edited("codebook_size: 8", "codebook_size: []"), "codebook_size"),
    ("plot-run", f"{VQ}/cfg.yaml", cut, "cfg.yaml"),
    # models
    *(
        ("evaluate", f"{VQ}/model.pt", spoil, "no model.pt that can be read")
        for spoil in (absent, empty, cut, noise, folder, hostile_torch, hostile_pickle)
    ),
    *(
        ("evaluate", f"{VQ}/model.pt", model(change), "model.pt")
        for change in (nan_weight, other_shape, other_version, no_settings)
    ),
    ("evaluate", f"{VQ}/model.pt", copied_from(f"{NONE}/model.pt"), "other settings"),
    ("evaluate", "packed.h5", info(met_scale_gev=1.0), "other packed data"),
    # facts
    *(
        ("collect", f"{FACTS}/metrics_val.csv", spoil, "run snakemake again")
        for spoil in (empty, noise, repeated_line, without_column("loss"))
    ),
    ("collect", f"{FACTS}/metrics_val.csv", edited("vq,1,0,,2", "vq,1,0,,3"), "the epochs 1 to 2"),
    ("collect", f"{FACTS}/metrics_train.csv", edited("\nvq/beta_1", "\nvq/beta_7"), "vq/beta_7"),
    ("collect", f"{FACTS}/metrics_train.csv", edited(",0.001,", ",fast,"), "fast"),
    ("collect", f"{FACTS}/metrics_test.csv", repeated_line, "twice"),
    ("collect", f"{FACTS}/metrics_test.csv", without_column("value"), "lacks value"),
    *(
        ("collect", f"{FACTS}/metrics_{split}.csv", copied_from(f"{NONE}/facts/{name}"), "only vq")
        for split, name in (("val", "metrics_val.csv"), ("test", "metrics_test.csv"))
    ),
    *(("collect", "baselines.csv", spoil, "baselines.csv") for spoil in (absent, empty, folder)),
    # errors per event
    *(
        ("compare", "events_test.npz", spoil, "one number per test event")
        for spoil in (absent, empty, cut, folder, hostile_pickle, hostile_npz, compressed_noise)
    ),
    ("compare", f"{FACTS}/events_test.npz", arrays(lambda x: x * np.nan), "NaN"),
    ("compare", f"{FACTS}/events_test.npz", arrays(lambda x: x[:-1]), "other test events"),
    ("compare", f"{FACTS}/events_test.npz", copied_from("events_test.npz"), "one number per"),
    # tables
    *(("compare", "summary.csv", spoil, "summary.csv") for spoil in (absent, empty, noise, folder)),
    ("compare", "summary.csv", repeated_line, "twice"),
    ("compare", "summary.csv", edited(",ok,", ",fine,"), "status fine"),
    ("compare", "summary.csv", without_column("perplexity"), "lacks perplexity"),
    ("plot", "summary.csv", edited("vq/beta_1", "vq/beta_2"), "has no row of vq"),
    ("plot", "comparison.csv", without_column("low"), "lacks low"),
    # what is asked about a finished study
    ("status", "runs", shutil.rmtree, "holds no run"),
    ("verify", "summary.csv", empty, "make it with"),
    ("verify", "config/config.yaml", text("- a list"), "no YAML file"),
    ("verify", "config/config.yaml", text(DEEP), "no YAML file"),
    ("link-runs", "summary.csv", lambda path: path.rename(path.parent / "by_number"), "by_number"),
]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("step", "name", "spoil", "part"), BAD, ids=[f"{s}-{n}-{x.__name__}" for s, n, x, _ in BAD]
)
def test_a_bad_file_ends_with_one_sentence(study, step, name, spoil, part, capsys):
    spoil(study / name)
    before = contents(study)
    message = run(study, step)
    assert isinstance(message, str), f"it exits with {message}: {capsys.readouterr()}"
    assert message.startswith("Error: ")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 1000
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
    message = run(study, "pack", *arguments)
    assert isinstance(message, str)
    assert message.startswith("Error: ")
    assert "\n" not in message
    assert len(message) < 1000
    assert contents(study) == before


@pytest.mark.parametrize("spoil", [empty, cut, noise, hostile_torch, hostile_pickle])
def test_a_bad_checkpoint_is_named_and_not_used(study, spoil, capsys):
    """Training then starts from nothing, and runs no code of it."""
    checkpoint = study / VQ / "checkpoint.pt"
    shutil.copy(study / VQ / "model.pt", checkpoint)
    spoil(checkpoint)
    assert run(study, "train") == 0
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
    ended = subprocess.run(command, cwd=study, capture_output=True, text=True, check=False)
    assert ended.returncode in (1, 2)  # 2 where the command line names the file
    assert re.search(part, ended.stderr)
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr
