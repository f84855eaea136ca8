"""Which format a file of events has, told from its content."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import h5py

from globals_heads.errors import UserError
from globals_heads.validation import DATA_REMEDY

Format = Literal["csv", "delphes", "tokens"]
HEAD_BYTES = 65_536


def format_of(path: Path) -> Format:
    """Return the format of a file.

    Raises
    ------
    UserError
        If it is none of the formats that are read.
    """
    if h5py.is_hdf5(path) or path.suffix.lower() in (".h5", ".hdf5"):
        return "tokens"
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if head.startswith(b"root"):
        return "delphes"
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as stream:
                head = stream.read(HEAD_BYTES)
        except (OSError, EOFError, zlib.error):
            return "csv"  # its reader says how far it comes
    problem = None
    if not head.strip():
        problem = "is empty"
    elif head.lstrip()[:1] == b"<":
        problem = "is a web page (HTML or XML), perhaps the answer of a failed download"
    elif b";" not in head or b"\0" in head:
        problem = "is in no format that is read here"
    if problem:
        raise UserError(f"{path} {problem}; {DATA_REMEDY}.")
    return "csv"


def require_formats(files: Sequence[Path]) -> Sequence[Path]:
    """Return the files; refuse them if they are in different formats, or in none.

    Raises
    ------
    UserError
        For the first file that is not read.
    """
    formats = {format_of(file): file for file in files}
    if len(formats) > 1:
        (a, file_a), (b, file_b), *_ = formats.items()
        raise UserError(
            f"The setting data names files of different formats: {file_a} ({a}) and {file_b} "
            f"({b}); give files of one format."
        )
    return files


def is_split_token_file(files: Sequence[Path]) -> bool:
    """Return whether the only file is a token file with splits, or a damaged one.

    A damaged file is refused where it is read, with a time limit.
    """
    if len(files) != 1 or format_of(files[0]) != "tokens":
        return False
    try:
        with h5py.File(files[0], "r") as file:
            names = {name.lower() for name in file}
    except Exception:  # h5py raises errors of many types
        return True
    return "x" not in names or "x_train" in names
