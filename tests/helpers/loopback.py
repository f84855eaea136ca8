"""A real Slurm on this machine: virtual nodes and fake GPUs behind 127.0.0.1.

    python tests/helpers/loopback.py    starts a cluster to try things by hand; Ctrl-C stops it

It works as root, without systemd, database and munge. Nobody has to prove who they are, so use it
in containers and on machines of continuous integration, not on machines that others work on.
"""

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Slurm's own folder: the executor plugin clears SLURM_CONF inside jobs, so no other one works.
ETC = Path("/etc/slurm")
# The first line of our files; whoever finds them without it leaves them alone.
MARK = "# Made by tests/helpers/loopback.py of globals-heads. State: "
DAEMONS = ("slurmctld", "slurmd")
COMMANDS = (*DAEMONS, "sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
# The first partition is the default one.
PARTITIONS = {"cpu": ("n1", "n2"), "gpu": ("g1",), "spot": ("s1",), "fragile": ("f1", "f2")}
NODES = [name for names in PARTITIONS.values() for name in names]
NUM_GPUS = 2
TIMEOUT_S = 30

SLURM_CONF = """\
ClusterName={state.name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/%n
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.%n.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# Nodes have more cores and memory on paper than this machine.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,defer_batch
# A node that was set down stays down.
ReturnToService=1
# Seconds from SIGTERM to SIGKILL when a job is cancelled or out of time; Slurm's own default.
KillWait=30
MinJobAge=3600
# Seconds until a job that Slurm puts back into the queue starts again, not 120.
AuthInfo=cred_expire=15
# What is submitted to `urgent` pushes aside what runs in `spot`.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=DEFAULT DefMemPerCPU=200 DefaultTime=00:10:00
PartitionName=urgent Nodes=s1 PriorityTier=2
GresTypes=gpu
"""


class NotPossibleError(Exception):
    """Why no cluster can be started here."""


@contextmanager
def cluster() -> Iterator[Path]:
    """Run a cluster for the length of the block; yield the folder of its state and logs.

    Raises
    ------
    NotPossibleError
        Without root, without the packages, beside another Slurm, or beside another such cluster.
    """
    if os.geteuid():
        raise NotPossibleError("a Slurm cluster on loopback needs root")
    if missing := [name for name in COMMANDS if not shutil.which(name)]:
        raise NotPossibleError(f"these programs of Slurm are missing: {', '.join(missing)}")
    made_etc = not ETC.exists()
    ETC.mkdir(exist_ok=True)
    lock = os.open(ETC, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotPossibleError("another session runs its cluster on this machine") from None
        clear()
        state = Path(tempfile.mkdtemp(prefix="slurm-loopback-"))
        try:
            start(state)
            yield state
        finally:
            clear()
            shutil.rmtree(state, ignore_errors=True)
    finally:
        os.close(lock)
        if made_etc:
            ETC.rmdir()


def start(state: Path) -> None:
    """Write the configuration, start the daemons and wait until every node is idle."""
    controller_port, *ports = free_ports(len(NODES) + 1)
    text = SLURM_CONF.format(
        host=socket.gethostname(), state=state, controller_port=controller_port
    )
    for name, port in zip(NODES, ports, strict=True):
        text += f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1"
        text += f" Port={port} CPUs=8 RealMemory=64000"
        text += f" Gres=gpu:{NUM_GPUS}\n" if name in PARTITIONS["gpu"] else "\n"
    for name, nodes in PARTITIONS.items():
        default = "YES" if name == next(iter(PARTITIONS)) else "NO"
        text += f"PartitionName={name} Nodes={','.join(nodes)} Default={default}\n"
    for number in range(NUM_GPUS):  # a device that is there is all that Slurm asks for
        os.mknod(state / f"gpu{number}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (state / "controller").mkdir()
    gres = f"NodeName={PARTITIONS['gpu'][0]} Name=gpu File={state}/gpu[0-{NUM_GPUS - 1}]\n"
    for name, content in {"slurm.conf": text, "gres.conf": gres}.items():
        (ETC / name).write_text(f"{MARK}{state}\n{content}", encoding="utf-8")
    for daemon in (["slurmctld"], *(["slurmd", "-N", name] for name in NODES)):
        subprocess.run(daemon, check=True, timeout=TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while set((states := node_states()).values()) != {"idle"}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the nodes are not idle but {states}; see the logs in {state}")
        time.sleep(0.2)


def node_states() -> dict[str, str]:
    """Return the state of each node as sinfo names it; nothing while the controller starts."""
    command = ["sinfo", "--noheader", "--Node", "--format", "%N %T"]
    answer = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    ).stdout
    return dict(line.split() for line in answer.splitlines())


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def clear() -> None:
    """Stop a cluster of ours and remove its files, also one whose session was killed.

    Raises
    ------
    NotPossibleError
        If the machine has a Slurm of somebody else's.
    """
    paths = [ETC / name for name in ("slurm.conf", "gres.conf") if (ETC / name).exists()]
    marks = {path.read_text(encoding="utf-8").partition("\n")[0] for path in paths}
    if not all(mark.startswith(MARK) for mark in marks):
        raise NotPossibleError(f"{ETC} holds the configuration of another Slurm")
    for mark in marks:
        state = Path(mark.removeprefix(MARK))
        stop(state)
        shutil.rmtree(state, ignore_errors=True)
    for path in paths:
        path.unlink()


def stop(state: Path) -> None:
    """Kill the daemons, then the guards of the jobs' steps, then the jobs' own processes.

    No state of theirs is to be kept, so they need not end in good order, which takes far longer.
    """
    running = processes(DAEMONS)
    kill([pid for path in state.glob("*.pid") if (pid := int(path.read_text())) in running])
    # Every process of a job carries the name of this cluster; a guard works in our folder.
    guards = processes(("slurmstepd",))
    kill([pid for pid in guards if linked(f"/proc/{pid}/cwd").is_relative_to(state)])
    kill(job_processes(state.name))


def processes(names: tuple[str, ...]) -> list[int]:
    """Return the running processes of these programs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "comm").read_text().strip() in names:
                found.append(int(folder.name))
    return found


def job_processes(cluster_name: str) -> list[int]:
    """Return the processes that jobs of this cluster started."""
    wanted = f"SLURM_CLUSTER_NAME={cluster_name}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def linked(path: str) -> Path:
    """Return where a link leads, and nowhere if it has just gone."""
    try:
        return Path(path).readlink()
    except OSError:
        return Path()


def kill(pids: list[int]) -> None:
    """Kill processes and wait until they are gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT_S
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits for its parent to take note does not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


if __name__ == "__main__":
    with cluster() as folder:
        print(f"Slurm runs, its logs are in {folder}; Ctrl-C stops it.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            signal.pause()
