"""Atomic writes, HDF5 files with a time limit and readable errors, and the lock of a run."""

import errno
import fcntl
import io
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

import h5py

from globals_heads.errors import UserError, brief

LOCK = ".lock"
LOCK_TIMEOUT_S = 1.0
# A sound file opens within milliseconds, and the slowest disks in use deliver 1 MiB in a second.
READ_TIMEOUT_S = 60
SLOWEST_READ_BYTES_PER_S = 2**20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its name once the block has succeeded.

    Readers never see half a file. A failed block leaves the old file at `path` untouched.

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
        # mkstemp makes private files; results get the permissions of any other new file.
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


@contextmanager
def scratch_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield an open file without a name on the disk of `path`; it is gone after the block.

    Raises
    ------
    UserError
        About `path`, if the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as stream:
            yield stream
    except OSError as error:
        raise _not_written(path, error) from error


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files of `path` that a killed process left.

    Only for a path with one writer: the temporary file of a living process would go, too.
    """
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
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
        "make room on the disk, or work in another folder with `snakemake --directory`."
    )


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


class _Hdf5Stream(io.FileIO):
    """A file for HDF5 to write to, which hides its first error from HDF5 and keeps it.

    When HDF5 cannot write as it closes a file, it keeps the file open, tries again at the end of
    the process and crashes.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, or nothing after the first error."""
        rest = memoryview(data).cast("B")
        num_bytes = len(rest)
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return num_bytes

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, or do nothing after the first error."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


@contextmanager
def new_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that appears at `path` once the block has succeeded.

    Parameters
    ----------
    path
        The file to make.
    options
        Those of `h5py.File`.

    Raises
    ------
    UserError
        If the file cannot be written, for instance because the disk is full.
    """
    with atomic_path(path) as temporary, _Hdf5Stream(temporary, "r+") as stream:
        with h5py.File(stream, "w", **options) as file:
            yield file
        if stream.error is not None:
            raise stream.error


@contextmanager
def open_hdf5(path: Path, problem: str, remedy: str) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Some damage makes HDF5 search for ever or crash, inside a call that Python cannot interrupt.
    A line on stderr therefore names the file, and an alarm ends the process after a minute and
    another second for each MiB of the file.

    Parameters
    ----------
    path
        The file.
    problem, remedy
        What is wrong if the file cannot be read, and what to do.

    Raises
    ------
    UserError
        For any error of HDF5 or of the block.
    """
    print(f"Reading {path} (if this line is the last, it is broken)", file=sys.stderr, flush=True)
    try:
        # The system's default action ends a process inside a C call; a Python handler cannot.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(READ_TIMEOUT_S + path.stat().st_size // SLOWEST_READ_BYTES_PER_S)
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # h5py raises errors of many types
        raise UserError(f"{path} {problem} ({brief(error)}); {remedy}.") from error
    finally:
        signal.alarm(0)


@contextmanager
def run_lock(folder: Path, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock on `folder` until the block or this process ends.

    A training process can outlive a Snakemake that was killed. The lock keeps it from
    overwriting the files of the next training.

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
        # On NFS a lock on the folder itself would hold on one machine only.
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{path} cannot be opened ({error.strerror}); give the folder of a run that you may "
            "write to."
        ) from error
    with stream:  # closing the file releases the lock, and so does the end of the process
        _lock(stream, folder, while_waiting)
        try:
            stream.truncate(0)
            # Unbuffered: closing a stream with a full buffer would fail again on a full disk.
            os.write(stream.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise _not_written(path, error) from error
        yield


def _lock(stream: TextIO, folder: Path, while_waiting: Callable[[], None]) -> None:
    # `is_locked` takes the lock for a moment, so the message waits for longer than that.
    to_be_named_at = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > to_be_named_at:
                to_be_named_at = math.inf
                stream.seek(0)
                print(
                    f"Waiting for another process that still trains {folder} "
                    f"({stream.read().strip()})",
                    flush=True,
                )
            while_waiting()
            time.sleep(LOCK_TIMEOUT_S / 20)
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
