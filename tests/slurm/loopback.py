"""A real Slurm on this machine: virtual nodes and fake GPUs behind 127.0.0.1.

    python tests/slurm/loopback.py     starts a cluster to try things by hand; Ctrl-C stops it

It works as root, without systemd, database and munge: nobody proves who he is, so it is meant for
containers and machines of continuous integration, not for those that others work on.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Slurm's own folder: the executor plugin clears SLURM_CONF inside jobs, so no other one works.
ETC = Path("/etc/slurm")
# The first line of our files; whoever finds them without it leaves them alone.
MARK = "# Made by tests/slurm/loopback.py of globals-heads. State: "
DAEMONS = ("slurmctld", "slurmd")
COMMANDS = (*DAEMONS, "sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
CPU_NODES = ("n1", "n2", "n3")
GPU_NODE = "g1"
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
ReturnToService=2
# Seconds from SIGTERM to SIGKILL when a job is cancelled or out of time; Slurm's own default.
KillWait=30
MinJobAge=3600
# Jobs of partition `urgent` push those of partition `cpu` aside.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes={cpu_nodes} Default=YES DefMemPerCPU=200 DefaultTime=00:10:00 PriorityTier=1
PartitionName=urgent Nodes={cpu_nodes} DefMemPerCPU=200 DefaultTime=00:10:00 PriorityTier=2
PartitionName=gpu Nodes={gpu_node} DefMemPerCPU=200 DefaultTime=00:10:00
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
    finally:
        os.close(lock)
        if made_etc:
            ETC.rmdir()


def start(state: Path) -> None:
    """Write the configuration, start the daemons and wait until every node is idle."""
    names = (*CPU_NODES, GPU_NODE)
    controller_port, *ports = free_ports(len(names) + 1)
    nodes = [
        f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port}"
        f" CPUs=4 RealMemory=16000{f' Gres=gpu:{NUM_GPUS}' if name == GPU_NODE else ''}"
        for name, port in zip(names, ports, strict=True)
    ]
    for number in range(NUM_GPUS):
        os.mknod(state / f"gpu{number}", 0o666 | 0o020000, os.makedev(1, 3))  # like /dev/null
    (state / "controller").mkdir()
    files = {
        "slurm.conf": SLURM_CONF.format(
            host=socket.gethostname(),
            state=state,
            controller_port=controller_port,
            nodes="\n".join(nodes),
            cpu_nodes=",".join(CPU_NODES),
            gpu_node=GPU_NODE,
        ),
        "gres.conf": f"NodeName={GPU_NODE} Name=gpu File={state}/gpu[0-{NUM_GPUS - 1}]\n",
    }
    for name, text in files.items():
        (ETC / name).write_text(f"{MARK}{state}\n{text}", encoding="utf-8")
    for daemon in (["slurmctld"], *(["slurmd", "-N", name] for name in names)):
        subprocess.run(daemon, check=True, timeout=TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while node_states().count("idle") < len(names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the nodes are not idle: {node_states()}; see the logs in {state}")
        time.sleep(0.2)


def node_states() -> list[str]:
    """Return the state of each node as sinfo names it; none while the controller starts."""
    command = ["sinfo", "--noheader", "--Node", "--format", "%N %T"]
    answer = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    ).stdout
    return list(dict(line.split() for line in answer.splitlines()).values())


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
    marks = {path.read_text(encoding="utf-8").splitlines()[0] for path in paths}
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
