"""The cluster of these tests: alone on its machine, seen by nobody else, gone afterwards."""

import os
import socket
import subprocess
from pathlib import Path

import loopback
import pytest
from loopback import NotPossibleError

FOREIGN = "ClusterName=theirs\n"


@pytest.fixture
def etc(tmp_path, monkeypatch):
    """A folder in place of /etc/slurm."""
    monkeypatch.setattr(loopback, "ETC", tmp_path)
    return tmp_path


@pytest.mark.parametrize("content", [FOREIGN, ""])
def test_other_slurm_is_left_alone(etc, content):
    """A configuration that is not ours is neither read for daemons to kill nor changed."""
    (etc / "slurm.conf").write_text(content, encoding="utf-8")
    with pytest.raises(NotPossibleError, match="another Slurm"):
        loopback.clear()
    assert (etc / "slurm.conf").read_text(encoding="utf-8") == content


def test_remains_are_cleared(etc, tmp_path_factory):
    """What a killed session left is removed: configuration, state and the processes of its jobs."""
    state = tmp_path_factory.mktemp("slurm-loopback")
    for name in ("slurm.conf", "gres.conf"):
        (etc / name).write_text(f"{loopback.MARK}{state}\n", encoding="utf-8")
    (etc / "plugstack.conf").touch()
    of_job = os.environ | {"SLURM_CLUSTER_NAME": state.name}
    sleep = ["sleep", "60"]
    with subprocess.Popen(sleep, env=of_job) as left, subprocess.Popen(sleep) as other:
        (state / "slurmctld.pid").write_text(
            str(other.pid), encoding="utf-8"
        )  # a number used again
        loopback.clear()
        assert left.wait(10) == -9
        assert other.poll() is None
        other.kill()
    assert [path.name for path in etc.iterdir()] == ["plugstack.conf"]
    assert not state.exists()


@pytest.mark.slurm
def test_only_this_machine(slurm):
    """The daemons listen on 127.0.0.1 and nowhere else."""
    inodes = set()
    for path in slurm.glob("*.pid"):
        for link in Path(f"/proc/{path.read_text().strip()}/fd").iterdir():
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    addresses = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                addresses.add(fields[1].split(":")[0])
    localhost = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert addresses == {localhost}
