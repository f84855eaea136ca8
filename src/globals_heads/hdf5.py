"""HDF5 files: written whole or not at all, and opened only if HDF5 gets through them."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py

from globals_heads.errors import UserError, brief
from globals_heads.files import atomic_path
from globals_heads.train.signals import SIGNALS

# A sound file takes milliseconds.
PATIENCE_S = 60.0


@contextmanager
def new_hdf5(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Yield an HDF5 file in memory, which is written to `path` once the block has succeeded.

    HDF5 on a full disk fails when it closes the file, with an error of its own, and once more when
    the process ends.

    Parameters
    ----------
    path
        The file to make.
    options
        Those of `h5py.File`.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    with h5py.File.in_memory(block_size=2**24, **options) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    with atomic_path(path) as temporary:
        temporary.write_bytes(image)


@contextmanager
def open_hdf5(path: Path, problem: str, remedy: str) -> Iterator[h5py.File]:
    """Open a file for reading, after a look through its structure in a process of its own.

    Some damage makes HDF5 crash or search for ever, inside a call that nothing in its own process
    can interrupt; of other damage it makes errors of all types.

    Parameters
    ----------
    path
        The file.
    problem, remedy
        What to say of the file if it cannot be read, and what to do.

    Raises
    ------
    UserError
        For whatever goes wrong, also inside the block.
    """
    # A fork: to start another Python for it would take longer than most files.
    look = multiprocessing.get_context("fork").Process(target=_look_through, args=(path,))
    look.start()
    look.join()
    if look.exitcode != 0:
        endless = look.exitcode == -signal.SIGALRM
        how = f"finds no end of it in {PATIENCE_S:g} s" if endless else "crashes on it"
        raise UserError(f"{path} {problem}: it is so damaged that HDF5 {how}; {remedy}.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} {problem} ({brief(error)}); {remedy}.") from error


def _look_through(path: Path) -> None:
    """Follow all that leads to attributes and data; errors will come again to who reads them."""
    # Those are for the process that asked; an end by one of them would pass for a crash.
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    # The system ends it, also inside a call and when the process that asked is gone.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    with suppress(Exception), h5py.File(path, "r") as file:
        _look_at("/", file)
        file.visititems(_look_at)


def _look_at(_: str, item: h5py.HLObject) -> None:
    with suppress(Exception):
        for name in item.attrs:
            with suppress(Exception):
                item.attrs[name]
    if isinstance(item, h5py.Dataset) and item.chunks:
        with suppress(Exception):
            item.id.get_num_chunks()
