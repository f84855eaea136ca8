"""The report: one page that opens without a network and begins with the verdict."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import chromium
import pytest

needs_chromium = pytest.mark.skipif(
    chromium.PATH is None, reason="there is no chromium; Debian has it: apt-get install chromium"
)
ROOT = Path(__file__).parents[2]
TABLES = {
    "results/tables/summary.html": "latent_space",
    "results/tables/comparison.html": "difference_low",
    "results/verdict.html": "Decision matrix",
}
FILES = {"summary.csv", "comparison.csv", "verdict_numbers.csv"}

# Clicks the eye of a row of the list; what it shows in the page, or hands out.
LOOK = """
(async () => {
  const eye = document.querySelectorAll('nav tbody tr')[ROW].querySelector('a');
  if (eye.download) return {path: eye.download, size: eye.href.length};
  eye.click();
  await new Promise(requestAnimationFrame);
  const path = app.state.resultPath;
  const image = document.querySelector('#app .h-screen .p-3 > img');
  if (!image) return {path};
  if (!await image.decode().then(() => true, () => false)) return {path, colours: 0};
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.canvas.width = 400; canvas.canvas.height = 300;
  canvas.drawImage(image, 0, 0, 400, 300);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, 400, 300).data.buffer);
  return {path, colours: new Set(pixels).size};
})()
"""
# What of the verdict is seen without a click or a scroll.
IN_SIGHT = """
[...document.querySelectorAll('.prose p, .prose td, .prose h1')].filter(element => {
  const box = element.getBoundingClientRect();
  return box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
}).map(element => element.innerText)
"""


def commands(folder, target, *variables):
    """Return the arguments of each snakemake that `make` starts for a target in a folder."""
    for name in ("pyproject.toml", ".venv/installed"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    command = ["make", "--dry-run", "-f", str(ROOT / "Makefile"), target, *variables]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    lines = [shlex.split(line) for line in process.stdout.splitlines() if "snakemake" in line]
    return [words[1:] for words in lines if words[0].endswith("snakemake")]


def make_report(study, *options):
    """Run the commands of `make report`, which find the study's settings; return their output."""
    made = commands(study.path, "report")
    assert all("results/study.yaml" in words for words in made)
    without_overlays = type(study)(study.path)
    return [without_overlays.run(*words, *options, profile=None) for words in made]


@pytest.fixture(scope="module")
def reported(finished, tmp_path_factory):
    """The finished study with its report; tests must not change it."""
    study = finished.copy(tmp_path_factory.mktemp("reported") / "study")
    nothing, report = make_report(study)
    assert "Nothing to be done" in nothing
    assert "Missing metadata" not in report
    return study


@pytest.fixture(scope="module")
def drawings(reported):
    """The paths of all its drawings."""
    found = [
        *reported.path.glob("results/figures/*.svg"),
        *reported.path.glob("results/runs/*/*/*/figures/*.svg"),
    ]
    return {str(path.relative_to(reported.path)) for path in found}


def rows(page, category):
    """Open a category from the menu and yield the number of each row of its list."""
    page.evaluate("app.setView({navbarMode: 'menu'})")
    page.wait("document.querySelector('nav li')")
    page.evaluate(
        f"[...document.querySelectorAll('nav a')].find(a => a.innerText == '{category}').click()"
    )
    page.wait("document.querySelector('nav tbody tr')")
    # A label with two values becomes a switch that shows half of the rows.
    switches = page.evaluate("document.querySelectorAll('nav fieldset label').length")
    for switch in range(max(switches, 1)):
        if switches:
            page.evaluate(f"document.querySelectorAll('nav fieldset label')[{switch}].click()")
        yield from range(page.evaluate("document.querySelectorAll('nav tbody tr').length"))


def look_through(path, profile):
    """Open a report as its reader does; return what is seen and what went wrong."""
    with chromium.opened(path, profile) as page:
        page.wait("document.querySelector('.prose') && document.querySelector('#rulegraph canvas')")
        first_page = page.evaluate("document.querySelector('.prose').innerText")
        in_sight = "\n".join(page.evaluate(IN_SIGHT))
        drawn, tables, files = {}, {}, set()
        for category in page.evaluate("Object.keys(categories)"):
            for row in rows(page, category):
                shown = page.evaluate(LOOK.replace("ROW", str(row)))
                if "colours" in shown:
                    drawn[shown["path"]] = shown["colours"]
                elif "size" in shown:
                    files |= {shown["path"]} if shown["size"] > 100 else set()
                else:
                    tables[shown["path"]] = page.frame_text()
        requests = [url for url in page.requests if url != path.absolute().as_uri()]
        return {
            "first_page": first_page,
            "in_sight": in_sight,
            "drawn": {path for path, colours in drawn.items() if colours > 10},
            "tables": tables,
            "files": files,
            "requests": requests,
            "problems": page.problems,
        }


@needs_chromium
def test_it_opens_offline_with_the_verdict_first(reported, drawings, tmp_path):
    """Everything is there and drawn, without an error and without asking for anything."""
    found = look_through(reported / "results/report.html", tmp_path)
    assert found["problems"] == found["requests"] == []
    verdict = json.loads((reported / "results/verdict.json").read_text(encoding="utf-8"))
    for sentence in verdict["answer"]:
        assert sentence in found["in_sight"]
    for answer in verdict["matrix"] + verdict["claims"]:
        if not answer["claim"].startswith("E"):  # these are a table of their own
            assert answer["text"] in found["first_page"]
    assert found["drawn"] == drawings
    assert found["tables"].keys() == TABLES.keys()
    assert all(column in found["tables"][path] for path, column in TABLES.items())
    assert found["files"] == FILES


# What sticks out to the left or right, words that nobody sees, and the order of the page.
FIT = """
(() => {
  const scroller = document.querySelector('.prose').closest('.overflow-auto');
  const out = e => { const box = e.getBoundingClientRect();
    return box.left < -1 || box.right > innerWidth + 1 || !box.width || !box.height; };
  const sections = [...document.querySelectorAll('.verdict > section')];
  const matrix = sections.find(s => s.querySelector('h2')?.innerText == 'Decision matrix');
  const shown = [...matrix.querySelectorAll('td')].filter(td => td.innerText.trim());
  const tops = [sections[0], document.querySelector('.document > svg'), sections[1]];
  return {
    scrolls: [document.documentElement, scroller].map(e => e.scrollWidth > e.clientWidth),
    out: [...document.querySelectorAll('.document > svg, .verdict p'), ...shown]
      .filter(out).map(e => e.textContent.slice(0, 100)),
    words: shown.map(td => td.innerText).join(' '),
    tops: tops.map(e => e.getBoundingClientRect().top),
  };
})()
"""


@needs_chromium
def test_the_first_page_fits_the_window(reported, tmp_path):
    """On a laptop and on a phone: the answer, the overview, and the whole decision matrix."""
    verdict = json.loads((reported / "results/verdict.json").read_text(encoding="utf-8"))
    with chromium.opened(reported / "results/report.html", tmp_path) as page:
        page.wait("document.querySelector('.document > svg')")
        for width, height in ((1280, 800), (390, 844)):
            page.resize(width, height)
            found = page.evaluate(FIT)
            assert found["scrolls"] == [False, False]
            assert found["out"] == []
            assert found["tops"] == sorted(found["tops"])
            for choice in verdict["matrix"]:
                assert choice["answer"] in found["words"] or choice["hint"] in found["words"]


@needs_chromium
def test_figures_are_listed_in_reading_order(reported, tmp_path):
    with chromium.opened(reported / "results/report.html", tmp_path) as page:
        page.wait("document.querySelector('.prose')")
        shown = [*rows(page, "Comparison")]
        first = page.evaluate("document.querySelector('nav tbody tr').innerText")
    assert "01 overview" in first
    assert len(shown) > 5


@needs_chromium
def test_what_is_broken_is_seen(reported, drawings, tmp_path):
    """A figure that is no drawing, a foreign script and an error do not go unnoticed."""
    page = (reported / "results/report.html").read_text(encoding="utf-8")
    figure = '"results/figures/tradeoff.svg": {'
    start = page.index("data:image", page.index(figure))
    end = page.index('"', start)
    broken = tmp_path / "broken.html"
    profile = tmp_path / "profile"
    profile.mkdir()
    script = "<script src='https://example.org/x.js'></script><script>throw Error('x')</script>"
    text = page[:start] + "data:image/svg+xml;base64,PHN2Zz4=" + page[end:]
    broken.write_text(text.replace("</head>", f"{script}</head>", 1), encoding="utf-8")
    found = look_through(broken, profile)
    assert found["drawn"] == drawings - {"results/figures/tradeoff.svg"}
    assert found["requests"] == ["https://example.org/x.js"]
    assert len(found["problems"]) >= 2


def test_no_markup_is_left_over(reported):
    """No caption and no part of the first page is something that reStructuredText rejects."""
    page = (reported / "results/report.html").read_text(encoding="utf-8")
    assert "system-message" not in page


@pytest.mark.slow
def test_it_has_the_config_of_its_command(reported, tmp_path):
    """What --config and --configfile say reaches the report."""
    study = reported.copy(tmp_path / "study")
    reference = '{"reference": {"latent_space": "none", "globals_beta": 1}}'
    make_report(study, "--config", f"compare={reference}")
    page = (study / "results/report.html").read_text(encoding="utf-8")
    assert "(none, globals_beta 1)" in page.replace("\\n", " ")
    assert "over the 1 epochs" in page.replace("\\n", " ")


def test_it_is_made_from_the_module_too(reported, tmp_path):
    """The study as a module makes the same report."""
    study = reported.copy(tmp_path / "study")
    (study / "results/report.html").unlink()
    make_report(study, "-s", "workflow/Snakefile")
    page = (study / "results/report.html").read_text(encoding="utf-8")
    assert all(f'"{path}"' in page for path in TABLES)


def test_a_failure_is_shown(reported, tmp_path):
    """A caption that cannot be read ends it with a message that names the file."""
    study = reported.copy(tmp_path / "study")
    (study / "workflow/report/figure.rst").write_text("{{ no such thing }}", encoding="utf-8")
    output = study.fail("--report", "results/report.html")
    assert "Error loading caption file" in output


@pytest.mark.parametrize(
    ("target", "arguments", "options"),
    [
        ("run", "", []),
        ("report", "--config seeds=3", ["--config", "seeds=3"]),
        ("partial", "", ["--config", "missing_runs=show"]),
        ("partial", "-j1 --config seeds=3", ["-j1", "--config", "missing_runs=show", "seeds=3"]),
        (
            "partial",
            "--configfile config/seeds.yaml",
            ["--configfile", "config/seeds.yaml", "--config", "missing_runs=show"],
        ),
    ],
)
def test_make_hands_profile_and_options_to_snakemake(target, arguments, options, tmp_path):
    """`make partial` adds to the --config that it is given, of which Snakemake takes the last."""
    made = commands(tmp_path, target, "PROFILE=profiles/slurm", f"ARGS={arguments}")
    expected = ["--profile", "profiles/slurm", *options]
    report = ["--report", "results/report.html"]
    # Absolute, since --directory in the options is another working directory.
    report += ["--report-stylesheet", str(tmp_path / "workflow/report/report.css")]
    assert made == [expected, [*expected, *report]][: 1 if target == "run" else 2]


def test_make_goes_on_with_the_study_that_is_there(tmp_path):
    """Unless the options name another config or folder, or config/config.yaml is newer."""
    config, study = tmp_path / "config/config.yaml", tmp_path / "results/study.yaml"
    for path in (config, study):
        path.parent.mkdir()
        path.touch()
    os.utime(config, (1, 1))
    for target in ("report", "partial"):
        for words in commands(tmp_path, target, "ARGS=-j1"):
            place = words.index("--configfile")
            assert words[place + 1] == "results/study.yaml"
        for arguments in ("--config seeds=3", "--configfile config/seeds.yaml", "--directory x"):
            for words in commands(tmp_path, target, f"ARGS={arguments}"):
                assert "results/study.yaml" not in words
    os.utime(study, (0, 0))
    assert "results/study.yaml" not in commands(tmp_path, "report")[0]
