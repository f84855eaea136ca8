"""Rules that the sources keep: lint, format, pins, and who may import whom."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/globals_heads"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
# What the modules of a stage import from other stages.
MAY_IMPORT = {
    "data": set(),
    "train": set(),
    "evaluate": {"train"},
    "downstream": {"train"},
    "export": {"data", "train"},
    "compare": set(),
    "plot": {"compare"},
}
# The same for modules of no stage: the command line, which handles signals, the record of a
# training, which says whether one stopped it, a check of results, and the types of what the
# package offers.
ENTRY_POINTS = {
    "cli.py": {"train"},
    "status.py": {"train"},
    "verify.py": {"compare"},
    "__init__.py": {"data", "export"},
}
# Where a heavy package may be imported.
HOMES = {
    "torch": ("train/", "evaluate/", "downstream/", "export/"),
    "vector_quantize_pytorch": "nowhere",
    "pythia8mc": "data/",
    "fastjet": "data/",
    "awkward": "data/",
    "uproot": "data/",
    "pyarrow": "data/",
    "matplotlib": "plot/",
    "onnx": "export/",
    "onnxruntime": "nowhere",
    "snakemake": "nowhere",
}


@pytest.mark.parametrize("options", [(), ("-s", "workflow/Snakefile")], ids=["root", "module"])
def test_lint(empty_study, options):
    """`snakemake --lint` is content without any flag."""
    empty_study.configfiles = ()
    output = empty_study.run("--lint", *options, profile=None)
    assert "Congratulations" in output


def imports(path):
    """Return all modules that a source file imports.

    Of the command line only what every step imports, not what a step imports for itself.
    """
    found = set()
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    for node in tree.body if path.name == "cli.py" else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_homes_of_heavy_packages(path):
    """Each heavy package is imported in one place, so that other steps start at once."""
    packages = {name.split(".")[0] for name in imports(path)}
    for package in packages & HOMES.keys():
        assert str(path).startswith(HOMES[package]), f"{path} imports {package}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_stages_import_one_way(path):
    """A stage imports only earlier stages that it needs, and a module of no stage imports none."""
    own = path.parts[0]
    allowed = MAY_IMPORT[own] | {own} if own in MAY_IMPORT else ENTRY_POINTS.get(str(path), set())
    stages = {name.split(".")[1] for name in imports(path) if name.startswith("globals_heads.")}
    assert stages & MAY_IMPORT.keys() <= allowed


def pins(entries):
    return dict(entry.partition(";")[0].split("==") for entry in entries)


def project_pins():
    with (ROOT / "pyproject.toml").open("rb") as file:
        return pins(tomllib.load(file)["project"]["dependencies"])


def test_environment():
    """The conda environment holds the packages of pyproject.toml, but for Snakemake itself."""
    text = (ROOT / "envs/environment.yaml").read_text(encoding="utf-8")
    dependencies = yaml.safe_load(text)["dependencies"]
    found = pins(next(entry["pip"] for entry in dependencies if isinstance(entry, dict)))
    snakemake = {name: pin for name, pin in project_pins().items() if name.startswith("snakemake")}
    assert found | snakemake == project_pins()
    assert not found.keys() & snakemake.keys()


def test_rules_name_existing_files():
    """Every environment and caption that a rule names is in the repository."""
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for name in re.findall(r'"(\.\./[^"]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / name).is_file(), f"{path.name} names {name}"


MARKER = next(
    entry.partition(";")[2]
    for entry in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    if entry.startswith("pythia8mc")
)
LINUX = {
    "python_version": "3.13",
    "sys_platform": "linux",
    "platform_machine": "x86_64",
    "platform_version": "#1 SMP Debian 6.1.0-37",
}
MAC = {
    "sys_platform": "darwin",
    "platform_machine": "arm64",
    "platform_version": "Darwin Kernel Version 24.1.0: Thu Oct 10",
}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, True),
        ({"python_version": "3.11"}, True),
        ({"python_version": "3.14"}, False),
        ({"platform_machine": "aarch64"}, False),
        (MAC, True),
        (MAC | {"platform_version": "Darwin Kernel Version 23.6.0: Mon Jul 29"}, False),
        (MAC | {"platform_machine": "x86_64"}, False),
        ({"sys_platform": "win32"}, False),
    ],
)
def test_pythia_is_left_out_where_it_has_no_wheel(change, wanted):
    assert Marker(MARKER).evaluate(LINUX | change) is wanted
