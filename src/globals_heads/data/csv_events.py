"""Events from the CSV files of the Dark Machines challenge, plain or compressed with gzip.

A line is an event: event ID;process ID;weight;MET;METphi and objects name,E,pT,eta,phi, all
separated by semicolons. An older dialect has weight;MET;METphi and objects name,pT,eta,phi. Blocks
of lines are parsed as a whole; lines that do not fit are first taken out of them.
"""

import gzip
import re
import zlib
from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from globals_heads.data.events import Events
from globals_heads.data.ragged import Labels, Ragged, Tally
from globals_heads.errors import UserError, brief
from globals_heads.settings import ReadSettings

# Bytes of a block. Threads wait for each other more often in smaller ones; larger ones need memory.
BLOCK_BYTES = 2**20
NUM_THREADS = 2
SPELLINGS = {"j": "jet", "b": "b-jet", "e+": "e+", "e-": "e-", "g": "photon", "a": "photon"}
SPELLINGS |= {"m+": "mu+", "mu+": "mu+", "m-": "mu-", "mu-": "mu-"}
COMMA, SEMICOLON, NEWLINE = b",;\n"
_NUMBER = rb"(?:[-+]?(?:(?:\d++\.?\d*+|\.\d++)(?:e[-+]?\d++)?|nan|inf(?:inity)?))"
_NUMBERS = re.compile(rb"%b(?:,%b)*+" % (_NUMBER, _NUMBER), re.IGNORECASE)


class Dialect(NamedTuple):
    """How a line begins, and what an object has.

    Attributes
    ----------
    description
        The dialect in words.
    num_header
        Fields before the first object.
    num_values
        Values of an object, its name included.
    """

    description: str
    num_header: int
    num_values: int


DIALECTS = (
    Dialect("event ID;process ID;weight;MET;METphi;name,E,pT,eta,phi", 5, 5),
    Dialect("weight;MET;METphi;name,pT,eta,phi; E = pT cosh(eta), without a mass", 3, 4),
)


def read_csv(
    path: Path,
    settings: ReadSettings,
    object_types: Mapping[int, str],
    labels: Labels,
    tally: Tally,
) -> Iterator[Events]:
    """Yield the events of a file block by block, in the file's unit of energy.

    Parameters
    ----------
    path
        The file.
    settings
        Number of slots.
    object_types
        Meaning of the object-type codes.
    labels
        Label of each process.
    tally
        Counts lines, and what is skipped.

    Raises
    ------
    UserError
        If the file is damaged as a whole.
    """
    codes = {name: code for code, name in object_types.items()}
    known = {word: codes[name] for word, name in SPELLINGS.items() if name in codes}
    stem, dialect = path.name.partition(".")[0], None
    # Threads help, since NumPy and Arrow let others work meanwhile.
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        waiting: deque[Future[tuple[Events, Tally]]] = deque()

        def next_events() -> Events:
            events, of_block = waiting.popleft().result()
            tally.add(of_block)
            return events

        for text in _blocks(path):
            dialect = dialect or _dialect(text)
            block = _Block(text, dialect, known, labels, stem)
            waiting.append(pool.submit(block.events, settings.slots))
            if len(waiting) > NUM_THREADS:
                yield next_events()
        while waiting:
            yield next_events()
    tally.notes.append(f"dialect: {dialect.description}" if dialect else "no line fits a dialect")


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines, without blanks."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    rest, whole, num_lines = b"", b"", 0
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            if stream.read(3) != BOM_UTF8:
                stream.seek(0)
            while chunk := stream.read(BLOCK_BYTES):
                if any(blank in chunk for blank in (b" ", b"\t", b"\r")):
                    chunk = chunk.translate(None, b" \t\r")
                cut = chunk.rfind(b"\n") + 1
                whole, rest = (rest + chunk[:cut], chunk[cut:]) if cut else (b"", rest + chunk)
                if whole:
                    num_lines += whole.count(b"\n")
                    yield whole
                if len(rest) > 4 * BLOCK_BYTES:
                    raise UserError(
                        f"{path} has no line break in {len(rest)} bytes after line "
                        f"{num_lines}, so it is no CSV file; fetch it again."
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} cannot be decompressed somewhere after line {num_lines} ({brief(error)}); "
            "fetch it again, or decompress what is there and give the result."
        ) from error
    if rest:
        # Where lines end with a semicolon, a last one without it was cut, maybe inside a number.
        if whole.endswith(b";\n") and not rest.endswith(b";"):
            rest = rest.rpartition(b"," if b"," in rest else b";")[0] or rest
        yield rest + b"\n"


def _dialect(text: bytes) -> Dialect | None:
    """Return the dialect of the first line that fits one."""
    return next((d for line in text.split(b"\n") for d in DIALECTS if _fits(line, d)), None)


def _fits(line: bytes, dialect: Dialect) -> bool:
    """Return whether the first object of a line has the place and the values of the dialect."""
    fields = line.split(b";")
    commas = [field.count(b",") for field in fields]
    first = next((i for i, number in enumerate(commas) if number), None)
    if first is None:
        return len([field for field in fields if field]) == dialect.num_header
    return first == dialect.num_header and commas[first] == dialect.num_values - 1


class _Block(NamedTuple):
    """Some lines of a file."""

    text: bytes
    dialect: Dialect | None
    codes: Mapping[str, int]
    labels: Labels
    stem: str

    def events(self, num_slots: int) -> tuple[Events, Tally]:
        """Return the events, and what was skipped."""
        tally = Tally("line")
        try:
            ragged = self._parsed(self.text, None, tally)
        except ValueError:  # pyarrow's errors are such
            ragged = self._parsed(*self._good_lines(tally), tally)
        return ragged.events(num_slots, tally), tally

    def _good_lines(self, tally: Tally) -> tuple[bytes, NDArray[np.int64]]:
        """Return the lines that fit, and their numbers; count the others."""
        good = {}
        for place, line in enumerate(self.text[:-1].split(b"\n"), start=1):
            tally.num_places = place
            if not line.strip(b";"):
                continue
            if kind := _problem(line, self.dialect):
                tally.skip(kind, [place])
            else:
                good[place] = line
        text = b"".join(line + b"\n" for line in good.values())
        return re.sub(rb";+(?=[;\n])", b"", text), np.array(list(good), np.int64)

    def _parsed(self, text: bytes, places: NDArray[np.int64] | None, tally: Tally) -> Ragged:
        """Return the events of lines that all fit; ValueError if one does not.

        `places` are the numbers of the lines; None if these are all lines.
        """
        _, num_header, width = self.dialect or DIALECTS[0]
        if num_header < width:  # with one field more, a header is as long as an object
            text = re.sub(rb"(?m)^(?!\Z)", b"0;", text)
        starts, stops, head = _fields(text, width)
        is_number = np.ones((len(head), width - 1), bool)
        is_number[head, 0] = num_header < width  # else the process
        values = _pieces(text, starts[:, 1:], stops[:, 1:], is_number).cast(pa.float64())
        numbers = _wanted(values, np.float64).reshape(is_number.shape)
        body = ~head
        met, objects = numbers[head, -2:], numbers[body]
        names, name = _words(text, starts[:, 0][body], stops[:, 0][body])
        processes, process = [""], np.zeros(len(met), np.int32)
        if num_header == width:
            processes, process = _words(text, starts[:, 1][head], stops[:, 1][head])
        if places is None:
            places = np.arange(1, len(met) + 1)
            tally.num_places = len(met)
        event = np.cumsum(head)[body] - 1
        types = np.array([self.codes.get(word, 0) for word in names], np.uint8)[name]
        if not (known := types > 0).all():
            words, first, counts = np.unique(name[~known], return_index=True, return_counts=True)
            for word, i, number in zip(words.tolist(), first, counts.tolist(), strict=True):
                tally.unknown_object(names[word], int(places[event[~known][i]]), number)
            event, types, objects = event[known], types[known], objects[known]
        labels = np.array([self.labels.label(word, self.stem) for word in processes], np.int64)
        for word, label, number in zip(processes, labels, np.bincount(process), strict=False):
            if label == 0:
                tally.unknown_processes[word or self.stem] += int(number)
        if width == 4:
            pt, eta, _ = objects.T
            with np.errstate(over="ignore"):
                energy = pt * np.cosh(np.clip(eta, -30, 30))
            objects = np.column_stack([energy, objects])
        return Ragged(places, event, types, objects, met, labels[process])


def _problem(line: bytes, dialect: Dialect | None) -> str | None:
    """Return in words why a line does not fit a dialect; None if it does."""
    if line.isdigit():
        return "a bare number"
    fields = [field.split(b",") for field in line.rstrip(b";").split(b";")]
    if dialect is None:
        return "of no known dialect"
    if b"," in line and any(d != dialect and _fits(line, d) for d in DIALECTS):
        return "of the other dialect"
    _, num_header, num_values = dialect
    header, objects = fields[:num_header], [f for f in fields[num_header:] if f != [b""]]
    sizes = [num_values, *map(len, objects)]
    values = [value for field in objects for value in field[1:]]
    values += [field[0] for field in header[-3:]]
    incomplete = len(header) < num_header or any(len(field) > 1 for field in header)
    if incomplete or [b""] in header[-4:] or b"" in values or min(sizes) < num_values:
        return "cut off or incomplete"  # only the event ID may be empty, since nothing reads it
    if max(sizes) > num_values:
        return "an object with too many values"
    return None if _NUMBERS.fullmatch(b",".join(values)) else "text in place of a number"


def _fields(
    text: bytes, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return where the fields of lines begin and end, shape (n, width), and which rows are headers.

    A header or an object is a row. ValueError if one is longer, shorter or without a process.
    """
    raw = np.frombuffer(text, np.uint8)
    marks = np.flatnonzero((raw == COMMA) | (raw == SEMICOLON) | (raw == NEWLINE))
    kinds = raw[marks]
    # A semicolon directly before the end of a line is its end.
    lines = np.flatnonzero(kinds == NEWLINE)
    double = lines[(kinds[lines - 1] == SEMICOLON) & (marks[lines - 1] == marks[lines] - 1)]
    kinds[double - 1] = NEWLINE
    marks, kinds = np.delete(marks, double), np.delete(kinds, double)
    if len(marks) % width:
        raise ValueError
    starts = (np.append(-1, marks)[:-1] + 1).reshape(-1, width)
    stops, kinds = marks.reshape(-1, width), kinds.reshape(-1, width)
    head = np.append(True, kinds[:, -1] == NEWLINE)[:-1]
    inner = np.where(head, SEMICOLON, COMMA)[:, None]
    empty = (starts == stops)[head, 1]
    if (kinds[:, :-1] != inner).any() or (kinds[:, -1] == COMMA).any() or empty.any():
        raise ValueError
    return starts, stops, head


def _pieces(text: bytes, starts: NDArray[Any], stops: NDArray[Any], wanted: Any = True) -> Any:
    """Return pieces of a text between ascending places as strings, without a copy.

    What is not wanted, and what lies between two pieces, are nulls.
    """
    if len(starts) == 0:
        return pa.array([], pa.string())
    bounds = np.stack([starts, stops], axis=-1, dtype=np.int32, casting="same_kind")
    valid = np.zeros(bounds.shape, bool)
    valid[..., 0] = wanted
    buffers = [pa.py_buffer(each) for each in (np.packbits(valid, bitorder="little"), bounds, text)]
    return pa.Array.from_buffers(pa.string(), bounds.size - 1, buffers)


def _wanted(values: Any, dtype: Any) -> NDArray[Any]:
    """Return what was made of the pieces; the values of nulls mean nothing."""
    return np.frombuffer(values.buffers()[1], dtype)[: len(values) : 2]


def _words(
    text: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.int32]]:
    """Return the different words between these places, and the number of each place's word."""
    encoded = _pieces(text, starts, stops).dictionary_encode()
    words = encoded.dictionary.cast(pa.binary()).to_pylist()
    return [word.decode("utf-8", "replace") for word in words], _wanted(encoded.indices, np.int32)
