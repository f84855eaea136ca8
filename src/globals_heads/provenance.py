"""What a result was made from, as short digests: sources, settings and data files."""

import ast
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent

# What these do reaches a step as values (its parameters) or not at all (how bytes get to disk,
# when a step stops), so an edit of them alone must not retrain anything.
WITHOUT_EFFECT = {
    "settings",
    "validation",
    "files",
    "hdf5",
    "manifest",
    "provenance",
    "train.signals",
}


def code_digest(*modules: str) -> str:
    """Return a digest of the sources that decide what `modules` do.

    Parameters
    ----------
    modules
        Names inside the package, such as "train.train"; whatever they import from the
        package counts, too. Comments, docstrings and formatting do not.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and module not in WITHOUT_EFFECT:
            found.add(module)
            waiting += _imports(module)
    return digest([_code(module) for module in sorted(found)])


@cache  # of a dozen digests that each plan of Snakemake needs
def _code(module: str) -> str:
    """Return the code of a module without comments, docstrings and formatting."""
    tree = _parse(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


@cache
def _imports(module: str) -> list[str]:
    """Return the modules of this package that `module` imports."""
    found: list[str] = []
    for node in ast.walk(_parse(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE.name):
            place = str(node.module).removeprefix(PACKAGE.name).lstrip(".")
            inside = [f"{place}.{name.name}".lstrip(".") for name in node.names]
            found += [name for name in [place, *inside] if name and _source(name).is_file()]
    return found


def _parse(module: str) -> ast.Module:
    return ast.parse(_source(module).read_text(encoding="utf-8"))


def _source(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py")


def digest(value: Any) -> str:
    """Return a short digest of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return a short digest of a file's content; a touch or a move does not change it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def dataset_name(data: str | None) -> str:
    """Return the folder of the data below results/data: another source or content is another one.

    Parameters
    ----------
    data
        The user's token file; None for events made here.
    """
    if data is None:
        return "generated"
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(data).stem)
    return f"{stem}-{file_digest(Path(data))[:8]}"
