"""What surrounds a study: the results folder, the Python that runs snakemake, and PATH."""

import os
import shutil
import subprocess
import sys

import pytest

# Without these two rights the permissions of files hold for root as for anybody.
AS_ANYBODY = (
    "setpriv",
    "--inh-caps=-dac_override,-dac_read_search",
    "--bounding-set=-dac_override,-dac_read_search",
)


def test_results_is_a_file(empty_study):
    """A file where the results belong ends with one sentence."""
    (empty_study / "results").write_text("mine", encoding="utf-8")
    output = empty_study.fail()
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert str(empty_study / "results") in error
    assert "folder" in error
    assert (empty_study / "results").read_text(encoding="utf-8") == "mine"


def test_results_cannot_be_written(study):
    """A results folder without write permission ends with one sentence."""
    prefix = () if os.geteuid() else AS_ANYBODY
    if prefix and (
        not shutil.which(prefix[0]) or subprocess.run([*prefix, "true"], check=False).returncode
    ):
        pytest.skip("root may write everywhere, and setpriv cannot take that right away")
    (study / "results").chmod(0o555)
    try:
        command = study.start("--config", "epochs=2", prefix=prefix, stdout=subprocess.PIPE)
        output, _ = command.communicate(timeout=60)
    finally:
        (study / "results").chmod(0o755)
    (error,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert str(study / "results") in error
    assert "cannot be written" in error


@pytest.mark.parametrize("missing", ["globals_heads", "pydantic"])
def test_python_lacks_a_package(empty_study, missing):
    """Snakemake of another environment ends with the command that sets up the right one."""
    stand_in = empty_study / "stand_in/globals_heads"
    stand_in.mkdir(parents=True)
    code = f"raise ModuleNotFoundError('No module named {missing}', name='{missing}')\n"
    (stand_in / "__init__.py").write_text(code, encoding="utf-8")
    empty_study.environment = {"PYTHONPATH": str(stand_in.parent)}
    output = empty_study.fail("-n")
    (message,) = [line for line in output.splitlines() if "lacks" in line]
    assert missing in message
    assert "make env" in message


def test_environment_not_activated(empty_study):
    """Rules find the package though .venv/bin is not on PATH."""
    empty_study.environment |= {"PATH": os.defpath, "VIRTUAL_ENV": ""}
    empty_study.run("--until", "pack", "link_runs")
    assert (empty_study / "results/by_number/0").is_symlink()
    assert list(empty_study.path.glob("results/data/*/packed.h5"))


def test_other_working_directory(empty_study, tmp_path):
    """`--directory` keeps a second study apart."""
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(empty_study / "config", elsewhere / "config")
    data = str(empty_study / "tokens.h5")
    empty_study.run("results/by_number", "--directory", str(elsewhere), overlay={"data": data})
    assert (elsewhere / "results/by_number/0").is_symlink()
    assert not (empty_study / "results").exists()


CONDA = r"""#!/bin/bash
# A stand-in for conda whose environments hold all but the package of the study.
base=$(cd "$(dirname "$0")/.." && pwd)
case "$1 $2" in
    "info --json") printf '{"conda_prefix": "%s", "platform": "linux-64"}' "$base" ;;
    "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
    "env create")
        mkdir -p "${@: -1}/bin"
        cat > "${@: -1}/bin/python" <<END
#!/bin/bash
echo "\$PWD \$PYTHONPATH" >> environments.log
exec $PYTHON "\$@"
END
        chmod +x "${@: -1}/bin/python"
        ;;
    *) echo "conda 25.1.0" ;;
esac
"""


def test_conda_environment(empty_study):
    """With --sdm conda the steps run in the environment of envs/, with the study's own code."""
    tools = empty_study / "conda/bin"
    tools.mkdir(parents=True)
    (tools / "conda").write_text(CONDA, encoding="utf-8")
    (tools / "conda").chmod(0o755)
    (tools / "activate").write_text('PATH="$1/bin:$PATH"\n', encoding="utf-8")
    empty_study.environment |= {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
    }
    empty_study.run("--until", "pack", "--sdm", "conda")
    used = (empty_study / "environments.log").read_text(encoding="utf-8")
    assert used == f"{empty_study.path} {empty_study / 'src'}\n"
    assert list(empty_study.path.glob("results/data/*/packed.h5"))


@pytest.mark.slow
def test_the_scheduler_sleeps(study_type, tmp_path):
    """It wakes when a job has ended, not more and more often."""
    study = study_type.create_tiny(tmp_path / "study")
    output = study.run("results/summary.csv", "--verbose")
    assert output.count("Ready jobs") < 2 * output.count("Finished jobid")
