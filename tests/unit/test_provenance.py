"""Digests change when they must and only then; manifests say what a step read and wrote."""

import ast
import json
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest
import yaml

from globals_heads import provenance
from globals_heads.errors import UserError
from globals_heads.facts import RunFolder
from globals_heads.plot.figures import FIGURES, RUN_FIGURES
from globals_heads.provenance import (
    MODULES,
    NEUTRAL,
    code_digest,
    dataset_name,
    file_digest,
    finished_runs,
    input_digests,
    read_manifest,
    source_name,
    write_manifest,
)
from globals_heads.settings import Settings

PACKAGE = Path(provenance.__file__).parent
# They call the steps, or no rule runs them, and no step imports them.
ENTRY_POINTS = {"__init__", "__main__", "cli", "verify"}
ENTRY_POINTS |= {"export.encode", "export.encoded_file", "export.onnx"}
# Sub-commands whose name does not begin with the name of their code digest.
DIGEST_OF = {"merge": "simulate"}
# The registry imports what draws a figure only when it is drawn.
DRAWING = {figure.function.split(".")[0] for figure in (*FIGURES.values(), *RUN_FIGURES.values())}
IMPORTED_BY_NAME = {"plot.figures": {f"plot.{name}" for name in (*DRAWING, "style")}}


def parse(module):
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree):
    """Return the modules of the package that a piece of code imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("globals_heads") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not seen here"
            parts = str(node.module).split(".")
            if parts[0] == "globals_heads":
                inside = PACKAGE.joinpath(*parts[1:]).is_dir()
                names = [[*parts[1:], name.name] for name in node.names] if inside else [parts[1:]]
                found |= {".".join(name) for name in names}
    return found


@pytest.mark.parametrize("step", MODULES)
def test_the_modules_of_a_step_are_those_that_it_imports(step):
    """Directly or through each other; neutral ones do not count."""
    waiting, found = set(), set()
    for node in parse("cli").body:
        name = node.name if isinstance(node, ast.FunctionDef) else ""
        if DIGEST_OF.get(name, name.split("_")[0]) == step:
            waiting |= imports(node)
    while waiting:
        module = waiting.pop()
        if module not in found and module not in NEUTRAL:
            found.add(module)
            waiting |= imports(parse(module)) | IMPORTED_BY_NAME.get(module, set())
    assert found == set(MODULES[step])


def test_each_module_either_decides_a_step_or_is_neutral():
    found = {".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in PACKAGE.rglob("*.py")}
    listed = set(chain(*MODULES.values()))
    assert not listed & set(NEUTRAL)
    assert {name for name in found if not name.endswith("__init__")} | {"__init__"} == (
        listed | set(NEUTRAL) | ENTRY_POINTS
    )


def test_training_does_not_depend_on_what_comes_after_it():
    assert not [name for name in MODULES["train"] if name.split(".")[0] in ("evaluate", "compare")]


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """Return a function that writes the only module of a step and returns the step's digest."""
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    monkeypatch.setitem(MODULES, "step", ("module",))

    def digest(text):
        (tmp_path / "module.py").write_text(text)
        provenance._code.cache_clear()
        return code_digest("step")

    yield digest
    provenance._code.cache_clear()


CODE = '''"""A module."""

def f(x):
    """Return x."""
    if x < 0:
        raise UserError(f"{x} is negative; give a positive number.")
    print("x is", x)
    return x
'''


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("return x", "return 2 * x", True),
        ("x < 0", "x < 1", True),
        ("UserError(", "KeyError(", True),
        ("return x", "return x  # as it is", False),
        ("x < 0", "(x  <  0)", False),
        ("Return x.", "Give x back.", False),
        ('"""A module."""', "", False),
        ("is negative; give a positive", "is below 0; give another", False),
        ('"x is", x', '"the number is", x', False),
    ],
)
def test_the_code_digest_follows_what_the_code_does(edit, old, new, changes):
    before = edit(CODE)
    assert (edit(CODE.replace(old, new)) != before) is changes


def test_a_file_digest_knows_content_only(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for path in (a, b):
        path.write_bytes(b"content")
    assert file_digest(a) == file_digest(b)
    b.write_bytes(b"Content")
    assert file_digest(a) != file_digest(b)


def test_the_name_of_a_data_set_follows_its_content(tmp_path):
    path = tmp_path / "my events, 4 tops.h5"
    path.write_bytes(b"content")
    study = Settings(data=str(path))
    name = dataset_name(study)
    assert name.startswith("my_events_4_tops-")
    assert dataset_name(study.model_copy(update={"num_events": 99})) == name
    path.write_bytes(b"Content")
    assert dataset_name(study) != name


def test_the_name_of_several_files_follows_their_names_contents_and_reader(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name)
    folder = Settings(data=str(tmp_path))
    name = dataset_name(folder)
    assert name.startswith(tmp_path.name)
    listed = [str(tmp_path / each) for each in ("b.csv", "a.csv")]
    assert dataset_name(Settings(data=listed)) == name
    assert dataset_name(Settings(data=str(tmp_path), read={"seed": 1})) != name
    assert dataset_name(Settings(data=listed[:1])).startswith("b-")
    (tmp_path / "a.csv").rename(tmp_path / "c.csv")
    assert dataset_name(folder) != name


@pytest.mark.parametrize(
    ("changes", "same_events"),
    [
        ({"num_events": 99}, False),
        ({"simulate": {"seed": 1}}, False),
        ({"simulate": {"fractions": {"tttt": 1}}}, False),
        ({"pack": {"features": "raw"}}, True),
        ({"pack": {"globals_target": "polar"}}, True),
    ],
)
def test_the_name_of_simulated_data_follows_the_settings_that_make_them(changes, same_events):
    default, changed = Settings(), Settings.model_validate(changes)
    assert dataset_name(default) == source_name(default)
    assert dataset_name(changed) != dataset_name(default)
    assert (source_name(changed) == source_name(default)) is same_events
    assert dataset_name(Settings(epochs=3, seeds=2)) == dataset_name(default)


STUDY = Settings(latent_space=["none", "vq"], globals_beta=[1])
FILES = ("model.pt", "facts/metrics_train.csv", "facts/metrics_val.csv")
FACTS = ("facts/metrics_test.csv", "facts/events_test.npz")


@pytest.fixture
def results(tmp_path):
    """The folder of a study whose two runs are finished, with packed data and empty facts."""
    packed = tmp_path / f"data/{dataset_name(STUDY)}/packed.h5"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"packed")
    for key in STUDY.runs:
        settings = STUDY.run_settings(key)
        folder = RunFolder.of(tmp_path, key.name)
        (folder.path / "facts").mkdir(parents=True)
        folder.settings.write_text(yaml.safe_dump(settings.model_dump()))
        for step, names in (("train", FILES), ("evaluate", FACTS)):
            outputs = [folder.path / name for name in names]
            for path in outputs:
                path.touch()
            inputs = input_digests(step, settings, file_digest(packed))
            started = datetime.now(UTC)
            write_manifest(folder.manifest(step), folder.path, inputs, outputs, started, threads=1)
    return tmp_path


def test_a_manifest_holds_digests_versions_machine_times_and_memory(results):
    folder = RunFolder.of(results, "vq/beta_1/seed_0")
    manifest = read_manifest(folder.manifest("train"))
    assert manifest["step"] == "train"
    assert manifest["inputs"].keys() == {"settings", "packed data", "code"}
    assert manifest["outputs"] == dict.fromkeys(FILES, file_digest(folder.model))
    assert manifest["versions"]["torch"].startswith("2.13.0")
    assert manifest["machine"]["host"]
    assert manifest["started"] <= manifest["finished"]
    assert 10 < manifest["peak_memory_mib"] < 5000


@pytest.mark.parametrize(
    "content", ["", "[]", '{"inputs": {}, "outputs": {}}', '{"inputs": 3}', "{", "[" * 9999]
)
def test_a_damaged_manifest_is_named(tmp_path, content):
    path = tmp_path / "manifest_train.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"manifest_train\.json cannot be read .*delete it"):
        read_manifest(path)


def names(study, results):
    return [key.name for key in finished_runs(study, results)]


def test_finished_runs_are_those_of_the_settings_and_data(results):
    both = ["none/beta_1/seed_0", "vq/beta_1/seed_0"]
    assert names(STUDY, results) == both
    assert names(STUDY.model_copy(update={"seeds": 2}), results) == both
    assert names(STUDY.model_copy(update={"epochs": 7}), results) == []
    changes = {"bottleneck": {"vq": {"codebook_size": 8}}}
    assert names(Settings.model_validate(STUDY.model_dump() | changes), results) == both[:1]
    (results / f"data/{dataset_name(STUDY)}/packed.h5").write_bytes(b"other")
    assert names(STUDY, results) == []


def test_finished_runs_need_no_packed_data_once_there_are_baselines(results):
    (results / f"data/{dataset_name(STUDY)}/packed.h5").unlink()
    assert names(STUDY, results) == []
    (results / f"data/{dataset_name(STUDY)}/baselines.csv").touch()
    assert len(names(STUDY, results)) == 2


@pytest.mark.parametrize("name", [*FILES, *FACTS, "cfg.yaml", "facts/manifest_train.json"])
def test_a_run_that_lacks_a_file_is_not_finished(results, name):
    (results / "runs/vq/beta_1/seed_0" / name).unlink()
    assert names(STUDY, results) == ["none/beta_1/seed_0"]


def test_a_run_with_a_damaged_manifest_is_not_finished(results):
    path = RunFolder.of(results, "vq/beta_1/seed_0").manifest("evaluate")
    path.write_text(json.dumps({"inputs": {}}))
    assert names(STUDY, results) == ["none/beta_1/seed_0"]
