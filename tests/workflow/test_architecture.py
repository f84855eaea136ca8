"""Rules that the sources keep: lint, format, pins, and who may import whom."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from globals_heads import provenance

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/globals_heads"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
WINGS = {"generate", "learn", "compare"}
# Where a heavy package may be imported.
HOMES = {
    "torch": "learn/",
    "vector_quantize_pytorch": "learn/",
    "pythia8mc": "generate/",
    "fastjet": "generate/",
    "awkward": "generate/",
    "matplotlib": (
        "compare/style.py",
        "compare/grid_figures.py",
        "compare/epoch_figures.py",
        "compare/physics_figures.py",
        "compare/variant_figures.py",
    ),
    "snakemake": "nowhere",
}


@pytest.mark.parametrize("options", [(), ("-s", "workflow/Snakefile")], ids=["root", "module"])
def test_lint(empty_study, options):
    """`snakemake --lint` is content without any flag."""
    empty_study.configfiles = ()
    output = empty_study.run("--lint", *options, profile=None)
    assert "Congratulations" in output


def test_snakefmt(bin_folder):
    """The Snakefiles are formatted."""
    command = [bin_folder / "snakefmt", "--check", "Snakefile", "workflow"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def imports(path):
    """Return all modules that a source file imports, with what it takes from the package.

    Of the command line only what every step imports; a step's own imports are its wing.
    """
    found = set()
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    for node in tree.body if path.name == "cli.py" else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import, which code_digest does not see"
            found |= {node.module}
            if node.module == "globals_heads":
                found |= {f"globals_heads.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_homes_of_heavy_packages(path):
    """Each heavy package is imported in one place, so that other steps start at once."""
    packages = {name.split(".")[0] for name in imports(path)}
    for package in packages & HOMES.keys():
        assert str(path).startswith(HOMES[package]), f"{path} imports {package}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_wings_do_not_know_each_other(path):
    """No wing imports another, and neither the ground nor the door imports one at its top."""
    own = path.parts[0]
    wings = {name.split(".")[1] for name in imports(path) if name.startswith("globals_heads.")}
    assert not (wings & WINGS) - {own}


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "cli.py"], ids=str)
def test_code_digest_sees_every_import(path):
    """What a module takes from the package is written so that an edit of it makes it again."""
    module = ".".join(path.with_suffix("").parts)
    seen = set(provenance._imports(module))
    used = {
        name.removeprefix("globals_heads.") for name in imports(path) if name != "globals_heads"
    }
    used = {
        name for name in used if (PACKAGE / name.replace(".", "/")).with_suffix(".py").is_file()
    }
    assert used == seen
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "globals_heads" and len(parts) > 1:
            assert not PACKAGE.joinpath(*parts[1:]).is_dir(), f"{path} imports the folder {name}"


def pins(entries):
    return dict(entry.split("==") for entry in entries)


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
