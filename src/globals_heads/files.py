"""Files written whole or not at all, and the lock of a run."""

import errno
import fcntl
import math
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from globals_heads.errors import UserError

LOCK = ".lock"
LOCK_PATIENCE_S = 1.0
# How the line in a log begins that says who holds the lock.
WAITING = "Waiting"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name once the block has succeeded.

    Nobody ever reads half a file, and a failed block leaves what stood at `path` untouched.

    Parameters
    ----------
    path
        The final path; its folder is made when missing.

    Raises
    ------
    UserError
        If the folder cannot be written to or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(descriptor)
    except OSError as error:
        raise _not_written(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; results are to be as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files of `path` that a killed process left; it has one writer."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the names in `folder` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync files only
            raise
    finally:
        os.close(descriptor)


def _not_written(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} cannot be written ({error.strerror or error}); make its folder writable, "
        "make room on the disk, or choose another with `snakemake --directory`."
    )


@contextmanager
def run_lock(folder: Path, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock on `folder` for as long as the block runs, or this process lives.

    A training process can outlive a Snakemake that was killed; without the lock it would
    overwrite what the next one has made.

    Parameters
    ----------
    folder
        The folder of a run.
    while_waiting
        Called now and then while another process holds the lock; raises to give up.

    Raises
    ------
    UserError
        If there is no such folder, or its file system has no locks.
    """
    path = folder / LOCK
    try:
        # A file of its own: on NFS the lock of a folder would hold on one machine only.
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); give the folder of a run that you may "
            "write to."
        ) from error
    with stream:  # closing it, as the end of the process does, releases the lock
        _lock(stream, folder, while_waiting)
        try:
            stream.truncate(0)
            # Past the stream's buffer, which closing would try in vain to empty onto a full disk.
            os.write(stream.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise _not_written(path, error) from error
        yield


def _lock(stream: TextIO, folder: Path, while_waiting: Callable[[], None]) -> None:
    # Not at once: who asks whether a lock is held holds it for a moment.
    to_be_named_at = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > to_be_named_at:
                to_be_named_at = math.inf
                stream.seek(0)
                print(
                    f"{WAITING} for another process that still trains {folder} "
                    f"({stream.read().strip()})",
                    flush=True,
                )
            while_waiting()
            time.sleep(LOCK_PATIENCE_S / 20)
        except OSError as error:
            raise UserError(
                f"The file system of {stream.name} has no locks ({error.strerror}), which keep two "
                "trainings from writing the same files; mount it with flock (Lustre) or with a "
                "lock manager (NFS), or work on another one with `snakemake --directory`."
            ) from error
        else:
            return


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of `run_lock` on `folder`."""
    try:
        with (folder / LOCK).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or a file system without locks
        return False
    return False


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8 with Unix line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def require_disk_space(path: Path, num_bytes: int) -> None:
    """Raise `UserError` if the disk that will hold `path` has fewer than `num_bytes` free."""
    existing = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise UserError(
            f"{path} needs {num_bytes / 2**20:.1f} MiB but only {free / 2**20:.1f} MiB are free "
            f"on the disk of {existing}; make room there, or take fewer events (num_events)."
        )
