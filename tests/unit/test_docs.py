"""The documentation is true: files, links, commands, settings, columns and rules are there."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml
from planted_results import LN_T, G, quiet
from pydantic import BaseModel

from globals_heads.cli import app
from globals_heads.compare.comparison import comparison
from globals_heads.compare.summary import collect
from globals_heads.facts import EPOCH_COLUMNS, write_metrics
from globals_heads.settings import CompareSettings, Grid, Settings
from globals_heads.validation import validated

ROOT = Path(__file__).parents[2]
README, EXTENDING, RESULTS = (
    ROOT / name for name in ("README.md", "docs/extending.md", "docs/results.md")
)
PAGES = [README, ROOT / "config/README.md", ROOT / "results/README.md", *ROOT.glob("docs/*.md")]
STAGES = ("data", "train", "evaluate", "compare", "plot")


def read(path):
    return path.read_text(encoding="utf-8")


def code_in(text):
    """Return the lines of code blocks, and the code within lines."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.M | re.S)
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    return [line.strip() for block in blocks for line in block.splitlines()] + re.findall(
        r"`([^`]+)`", rest
    )


@pytest.fixture(params=PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def page(request):
    return request.param


def test_readme_is_short():
    assert len(read(README).splitlines()) <= 150


def test_links(page):
    """Each relative link leads to a file, and to a heading of it."""
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", read(page))
    for name, heading in links:
        target = page.parent / name if name else page
        assert target.exists(), name
        headings = re.findall(r"^#+ (.+)$", read(target), re.M) if heading else []
        slugs = [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings]
        assert not heading or heading in slugs, heading


def test_files(page):
    """Each file of the repository that a page names is there; so is a name "in" a module."""
    folders = "src|workflow|tests|config|docs|envs|profiles"
    for code in code_in(read(page)):
        for name in re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]*\w/?", code):
            assert (ROOT / name).exists() or "NAME" in name, name
        if re.fullmatch(r"[a-z_]+\.py", code):
            assert [*(ROOT / "src").rglob(code), *(ROOT / "tests").rglob(code)], code
    for name, module in re.findall(r"`(\w+)` in `(src/[\w/.]+\.py)`", read(page)):
        assert re.search(rf"\b{name}\b", read(ROOT / module)), f"{name} in {module}"


def test_commands(page):
    """Targets and variables of make, sub-commands and settings are there."""
    makefile = read(ROOT / "Makefile")
    targets = re.findall(r"^([a-z]+):", makefile, re.M)
    variables = re.findall(r"^([A-Z_]+) \??=", makefile, re.M)
    commands = {c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands}
    for code in code_in(read(page)):
        for target, rest in re.findall(r"^make ([a-z]+)(.*)", code):
            assert target in targets, code
            assert set(re.findall(r"\b([A-Z_]+)=", rest)) <= set(variables), code
        for command in re.findall(r"python -m globals_heads ([a-z][\w-]*)", code):
            assert command in commands, code
        if " --config" in code:
            check_settings(code)


def check_settings(command):
    """Let the settings judge what `command` gives with --config and --configfile."""
    # The words in ARGS='...' are separated by spaces; other words may have some inside.
    words = shlex.split(
        command.replace("ARGS='", "").rstrip("'") if "ARGS='" in command else command
    )
    values = dict(word.split("=", 1) for word in words if re.match("[a-z_]+=", word))
    values = {key: yaml.safe_load(value) for key, value in values.items()}
    for name in (word for word in words if re.fullmatch(r"config/\w+\.yaml", word)):
        values |= yaml.safe_load(read(ROOT / name))
    validated(Settings, values, command)


def test_examples_of_settings(page):
    for block in re.findall(r"^```yaml\n(.*?)^```", read(page), re.M | re.S):
        validated(Settings, yaml.safe_load(block), str(page))


def test_settings_are_described():
    """The comment above each key of config.yaml is the description that the schema has, too."""
    comments, place, comment = {}, [], []
    for line in read(ROOT / "config/config.yaml").splitlines():
        indent, sharp, text = re.match("( *)(#?) ?(.*)", line).groups()
        if not sharp and text:
            place = [*place[: len(indent) // 2], text.split(":")[0]]
            comments[".".join(place)] = " ".join(comment)
        comment = [*comment, text] if sharp else []
    assert comments == dict(descriptions(Settings))


def descriptions(model, prefix=""):
    for name, field in model.model_fields.items():
        yield prefix + name, field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from descriptions(field.annotation, f"{prefix}{name}.")


def test_columns(tmp_path):
    """docs/results.md describes every column of the tables, and no other."""
    write_metrics(tmp_path / "baselines.csv", None, [])
    collect(Grid(), tmp_path, tmp_path / "baselines.csv", tmp_path / "summary.csv", ())
    assert documented("### summary.csv") == set(pd.read_csv(tmp_path / "summary.csv"))
    table = comparison(quiet(LN_T, G), CompareSettings())
    assert documented("### comparison.csv") == set(table)
    assert documented("## train") == set(EPOCH_COLUMNS)


def documented(heading):
    """Return the names in the first column of the table below a heading."""
    section = read(RESULTS).split(f"\n{heading}\n")[1].split("\n#")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", section, re.M) for name in code_in(row)}


@pytest.mark.parametrize("stage", STAGES)
def test_stages(stage):
    """A stage has rules, code, unit tests and a section of the documentation by its name."""
    rules = re.findall(
        r"^ *(?:use rule \w+ as|rule) (\w+)", read(ROOT / f"workflow/rules/{stage}.smk"), re.M
    )
    (named,) = re.findall(rf"^\| {stage} \|.*\| (.*) \| \[", read(EXTENDING), re.M)
    assert sorted(named.split(", ")) == sorted(rules)
    for place in (f"src/globals_heads/{stage}", f"tests/unit/{stage}"):
        assert (ROOT / place).is_dir()
    assert f"<b>{stage}</b>" in read(README)
