"""Events from the CSV files of the Dark Machines challenge, plain or compressed with gzip.

A line is an event: event ID;process ID;weight;MET;METphi and objects name,E,pT,eta,phi, all
separated by semicolons. An older dialect has weight;MET;METphi and objects name,pT,eta,phi. Blocks
of lines are read at once with NumPy and pandas; lines that do not fit are read one by one.
"""

import gzip
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from globals_heads.arrays import Array
from globals_heads.data.events import Events
from globals_heads.data.ragged import Labels, Ragged, Tally
from globals_heads.errors import UserError, brief
from globals_heads.settings import ReadSettings

# Bytes that each thread has in memory at a time, with some ten times as much beside them.
BLOCK_BYTES = 2**23
NUM_THREADS = 2
SPELLINGS = {
    "jet": "j",
    "b-jet": "b",
    "e+": "e+",
    "e-": "e-",
    "mu+": "m+ mu+",
    "mu-": "m- mu-",
    "photon": "g a",
}
BLANK, COMMA, SEMICOLON, NEWLINE = b" ,;\n"
_IN_NUMBERS = np.array([byte in b"0123456789+-.eE, \n" for byte in range(256)])
# Keeps the first 0, 1, 2 or 3 of four bytes.
_NAME_MASK = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)


@dataclass(frozen=True)
class Dialect:
    """How a line begins, and what an object has.

    Attributes
    ----------
    num_header
        Fields before the first object.
    num_values
        Values of an object, its name included.
    """

    num_header: int
    num_values: int


DIALECTS = (Dialect(5, 5), Dialect(3, 4))


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
    reader = _Reader(path, object_types, labels, tally)
    # Threads help, since NumPy and pandas let others work meanwhile.
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        waiting: deque[Future[_Block]] = deque()
        for text in _blocks(path, tally):
            waiting.append(reader.start(text, pool))
            if len(waiting) > NUM_THREADS:
                yield reader.finish(waiting.popleft().result()).events(settings.slots, tally)
        while waiting:
            yield reader.finish(waiting.popleft().result()).events(settings.slots, tally)
    tally.notes.append(reader.description)


def _blocks(path: Path, tally: Tally) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines, without blanks."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    rest, whole = b"", b""
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            while chunk := stream.read(BLOCK_BYTES):
                cut = chunk.rfind(b"\n") + 1
                whole, rest = (rest + chunk[:cut], chunk[cut:]) if cut else (b"", rest + chunk)
                if whole:
                    yield whole
                if len(rest) > 4 * BLOCK_BYTES:
                    raise UserError(
                        f"{path} has no line break in {len(rest)} bytes after line "
                        f"{tally.num_places}, so it is no CSV file; fetch it again."
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} cannot be decompressed after line {tally.num_places} ({brief(error)}); fetch "
            "it again, or decompress what is there and give the result."
        ) from error
    rest, whole = _without_blanks(rest), _without_blanks(whole[-8:])
    if rest:
        # Where lines end with a semicolon, a last one without it was cut, maybe inside a number.
        if whole.endswith(b";\n") and not rest.endswith(b";"):
            rest = rest.rpartition(b"," if b"," in rest else b";")[0] or rest
        yield rest + b"\n"


class _Reader:
    """Turns blocks of lines into events; remembers the dialect of the file."""

    def __init__(
        self, path: Path, object_types: Mapping[int, str], labels: Labels, tally: Tally
    ) -> None:
        self.stem = path.name.partition(".")[0]
        self.labels, self.tally = labels, tally
        self.dialect: Dialect | None = None
        codes = {name: code for code, name in object_types.items()}
        spellings = {s: name for name, all_ in SPELLINGS.items() for s in all_.split()}
        self.codes = {s: codes[name] for s, name in spellings.items() if name in codes}
        self.names = _Names(self.codes)

    @property
    def description(self) -> str:
        """The dialect in words."""
        if self.dialect is None:
            return "no line fits a dialect"
        if self.dialect.num_header == 5:
            return "dialect: event ID;process ID;weight;MET;METphi;name,E,pT,eta,phi"
        return "dialect: weight;MET;METphi;name,pT,eta,phi; E = pT cosh(eta), without a mass"

    def start(self, text: bytes, pool: ThreadPoolExecutor) -> "Future[_Block]":
        """Start to read a block of lines."""
        if self.dialect is None:
            lines = _without_blanks(text).decode("utf-8", "replace").split("\n")
            self.dialect = next((d for line in lines for d in DIALECTS if _fits(line, d)), None)
        return pool.submit(_read_block, text, self.dialect, self.names)

    def finish(self, block: "_Block") -> Ragged:
        """Return the events of a block of lines; the irregular lines are read one by one."""
        first_line = self.tally.num_places + 1
        self.tally.num_places += len(block.odd)
        parts: list[Ragged] = []
        if (regular := block.regular) is not None:
            labels = self._labels(block.processes, len(regular.places))
            parts.append(replace(regular, places=regular.places + first_line, labels=labels))
        if block.odd.any() or not parts:
            parts.append(self._slow(block.text, np.flatnonzero(block.odd), first_line))
        return _joined(parts)

    def _labels(self, processes: Sequence[str], num_events: int) -> NDArray[np.int64]:
        """Return the labels of events with these processes; one name stands for all events."""
        known = {name: self.labels.label(name, self.stem) for name in set(processes)}
        labels = np.array([known[name] for name in processes], np.int64)
        for name, label in known.items():
            if label == 0:
                share = processes.count(name) * num_events // max(len(processes), 1)
                self.tally.unknown_processes[name or self.stem] += share
        return np.broadcast_to(labels, (num_events,)) if len(labels) == 1 else labels

    def _slow(self, block: bytes, odd: NDArray[np.int64], first_line: int) -> Ragged:
        """Return the events of single lines, and count the lines that are none."""
        lines = block.split(b"\n")
        events = []
        for number in odd.tolist():
            text, place = lines[number].decode("utf-8", "replace"), first_line + number
            if not text.strip(";"):
                continue
            try:
                events.append((place, *self._exact(text, place)))
            except ValueError as error:
                self.tally.skip(str(error), [place])
        places, processes, met, objects = zip(*events, strict=True) if events else ((),) * 4
        flat = [each for of_event in objects for each in of_event]
        numbers = [i for i, of_event in enumerate(objects) for _ in of_event]
        return Ragged(
            np.array(places, np.int64),
            np.array(numbers, np.int64),
            np.array([code for code, _ in flat], np.uint8),
            _with_energy(np.array([values for _, values in flat], float)),
            np.array(met, float).reshape(-1, 2),
            self._labels(list(processes), len(events)),
        )

    def _exact(
        self, text: str, place: int
    ) -> tuple[str, tuple[float, ...], list[tuple[int, list[float]]]]:
        """Return process ID, globals and objects of a line, or say what kind it is."""
        dialect = self.dialect
        if text.strip(";").isdecimal():
            raise ValueError("a bare number")
        if dialect is None:
            raise ValueError("of no known dialect")
        if "," in text and any(d != dialect and _fits(text, d) for d in DIALECTS):
            raise ValueError("of the other dialect")
        fields = text.split(";")
        header, rest = fields[: dialect.num_header], [f for f in fields[dialect.num_header :] if f]
        if len(header) < dialect.num_header or any("," in field or not field for field in header):
            raise ValueError("cut off or incomplete")
        met = _floats(header[-2:])
        objects, unknown = [], []
        for part in rest:
            name, *values = part.split(",")
            if len(values) < dialect.num_values - 1 or "" in values:
                raise ValueError("cut off or incomplete")
            if len(values) > dialect.num_values - 1:
                raise ValueError("an object with too many values")
            numbers = _floats(values)
            if name in self.codes:
                objects.append((self.codes[name], list(numbers)))
            else:
                unknown.append(name)
        _floats(header[-3:-2])  # the weight is not used, but tells a good line, too
        for name in unknown:
            self.tally.unknown_object(name, place)
        return header[1] if dialect.num_header == 5 else "", met, objects


@dataclass(frozen=True)
class _Block:
    """A block of lines.

    Attributes
    ----------
    text
        The lines.
    odd
        Which lines are left to be read one by one, shape (L,); empty ones are not.
    regular
        The events of the other lines, with lines counted from 0 and without labels, if any.
    processes
        Their process IDs, or one for all.
    """

    text: bytes
    odd: NDArray[np.bool_]
    regular: Ragged | None = None
    processes: Sequence[str] = ()


def _read_block(text: bytes, dialect: Dialect | None, names: "_Names") -> _Block:
    """Return the events of all regular lines of a block."""
    text = _without_blanks(text)
    shape = _Shape(text, dialect or DIALECTS[0])
    codes, length = names.codes(shape.raw, shape.begin)
    shape.odd[shape.line_of_object[length == 0]] = True
    values = None if dialect is None else shape.numbers(length)
    if values is None:
        return _Block(text, ~shape.blank)
    good = ~shape.odd
    kept = good[shape.line_of_object]
    event = (np.cumsum(good) - 1)[shape.line_of_object[kept]]
    num_events = int(good.sum())
    counts = np.bincount(event, minlength=num_events)
    header = np.arange(num_events) + np.cumsum(counts) - counts  # rows of `values`
    is_object = np.ones(len(values), bool)
    is_object[header] = False
    objects = _with_energy(values[is_object])
    none = np.zeros(num_events, np.int64)
    places, met = np.flatnonzero(good), values[header, -2:]
    regular = Ragged(places, event, codes[kept], objects, met, none)
    return _Block(text, shape.odd & ~shape.blank, regular, shape.processes())


def _without_blanks(text: bytes) -> bytes:
    has_blanks = any(blank in text for blank in (b" ", b"\t", b"\r"))
    return text.translate(None, b" \t\r") if has_blanks else text


class _Names:
    """Finds the codes of all objects of a block by the bytes of their names."""

    def __init__(self, codes: Mapping[str, int]) -> None:
        keys = {int.from_bytes(name.encode(), "little"): code for name, code in codes.items()}
        # The smallest table in which no two names share a place.
        self.size = next(n for n in count(1) if len({key % n for key in keys}) == len(keys))
        self.keys = np.zeros(self.size, np.uint32)
        self.table = np.zeros(self.size, np.uint8)
        for key, code in keys.items():
            self.keys[key % self.size], self.table[key % self.size] = key, code

    def codes(
        self, raw: NDArray[np.uint8], begin: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Return code and length of the names that begin at these bytes; 0 for unknown names."""
        words: NDArray[np.uint32] = np.ndarray((len(raw) - 3,), "<u4", raw, strides=(1,))
        word = words[begin]
        bytes_of_word = word.view(np.uint8).reshape(-1, 4)
        length = np.argmax(bytes_of_word == COMMA, axis=1)  # 0 without a comma
        key = word & _NAME_MASK[length]
        place = key % self.size
        return self.table[place], length * (self.keys[place] == key)


class _Shape:
    """Where the lines, headers and objects of a block lie, and which lines are regular.

    Attributes
    ----------
    raw
        The bytes of the block, and four more.
    odd, blank
        Which lines do not fit the dialect, and which are empty, shape (L,).
    begin, line_of_object
        First byte and line of each object.
    """

    def __init__(self, block: bytes, dialect: Dialect) -> None:
        self.raw = np.frombuffer(block + bytes(4), np.uint8)
        self.size, self.dialect = len(block), dialect
        self.marks = marks = np.flatnonzero((self.raw == SEMICOLON) | (self.raw == NEWLINE))
        is_end = self.raw[marks] == NEWLINE
        ends = np.flatnonzero(is_end)
        self.first = np.concatenate([[0], ends[:-1] + 1])  # first mark of each line
        self.ends = marks[ends]
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])
        num_marks = ends - self.first + 1
        self.odd = num_marks < dialect.num_header
        self.blank = self.ends == self.starts
        line = np.repeat(np.arange(len(ends)), num_marks)
        body = np.arange(len(marks)) >= (self.first + dialect.num_header - 1)[line]
        body &= ~is_end
        self.behind_header = marks[body]
        objects = np.flatnonzero(body)
        # Nothing lies between a trailing semicolon and the end of its line.
        objects = objects[marks[objects + 1] - marks[objects] > 1]
        self.begin = marks[objects] + 1
        self.line_of_object = line[objects]

    def numbers(self, length: NDArray[np.int64]) -> Array | None:
        """Return the numbers of the regular lines; None if some are no numbers.

        One row for the header of a line, and one for each of its objects. Names, of this length,
        and IDs are overwritten by blanks and zeros, and other lines by empty ones. The lines that
        keep the others from being read are marked as odd.
        """
        num_columns = self.dialect.num_values - 1
        # A first row of zeros says how many columns a row may have.
        row = np.frombuffer(b"0," * (num_columns - 1) + b"0\n", np.uint8)
        text = np.concatenate([row, self.raw[: self.size]])
        body = text[len(row) :]
        for i in range(4):
            body[self.begin[length >= i] + i] = BLANK
        body[self.behind_header] = NEWLINE
        lines = np.flatnonzero(~self.odd)
        header = self.first[lines, None] + np.arange(self.dialect.num_header - 1)
        if self.dialect.num_header == 5:  # event ID and process ID become one number
            body[_ranges(self.starts[lines], self.marks[header[:, 1]])] = ord("0")
            header = header[:, 1:]
        body[self.marks[header]] = COMMA
        self._erase(body, self.odd)
        values = _numbers(text, num_columns)
        if values is None:
            odd = self._irregular(body) & ~self.odd
            self.odd |= odd
            self._erase(body, odd)
            values = _numbers(text, num_columns)
        expected = (~self.odd).sum() + (~self.odd)[self.line_of_object].sum()
        return values[1:] if values is not None and len(values) == expected + 1 else None

    def _erase(self, body: NDArray[np.uint8], lines: NDArray[np.bool_]) -> None:
        body[_ranges(self.starts[lines], self.ends[lines])] = NEWLINE

    def _irregular(self, body: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return the lines with text in place of numbers, or with too few or too many numbers."""
        odd = np.zeros(len(self.ends), bool)
        odd[np.searchsorted(self.ends, np.flatnonzero(~_IN_NUMBERS[body]))] = True
        commas = np.flatnonzero(body == COMMA)
        rows = np.flatnonzero(body == NEWLINE)
        starts = np.concatenate([[0], rows[:-1] + 1])
        num_commas = np.diff(np.searchsorted(commas, rows), prepend=0)
        wrong = (num_commas != self.dialect.num_values - 2) & (rows > starts)
        odd[np.searchsorted(self.ends, rows[wrong])] = True
        separators = np.flatnonzero((body == COMMA) | (body == NEWLINE))
        left, right = separators[:-1], separators[1:]
        nothing = (right - left == 1) & ((body[left] == COMMA) | (body[right] == COMMA))
        odd[np.searchsorted(self.ends, left[nothing])] = True
        return odd

    def processes(self) -> list[str]:
        """Return the process ID of each regular line, or one ID if all are equal."""
        lines = self.first[~self.odd]
        if self.dialect.num_header == 3 or not len(lines):
            return [""]
        start, stop = self.marks[lines] + 1, self.marks[lines + 1]
        length = int(stop[0] - start[0])
        if (stop - start == length).all():
            ids = self.raw[start[:, None] + np.arange(length)]
            if (ids == ids[0]).all():
                start, stop = start[:1], stop[:1]
        parts = (self.raw[a:b].tobytes() for a, b in zip(start, stop, strict=True))
        return [part.decode("utf-8", "replace") for part in parts]


def _fits(line: str, dialect: Dialect) -> bool:
    """Return whether the first object of a line has the place and the values of the dialect."""
    fields = line.split(";")
    commas = [field.count(",") for field in fields]
    first = next((i for i, number in enumerate(commas) if number), None)
    if first is None:
        return len([field for field in fields if field]) == dialect.num_header
    return first == dialect.num_header and commas[first] == dialect.num_values - 1


def _floats(fields: list[str]) -> tuple[float, ...]:
    try:
        return tuple(float(field) for field in fields)
    except ValueError:
        raise ValueError("text in place of a number") from None


class _Bytes:
    """A file of these bytes; unlike BytesIO, pandas does not decode and encode what it reads."""

    def __init__(self, text: NDArray[np.uint8]) -> None:
        self._text = text

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        part, self._text = self._text[:size], self._text[size:]
        return part.tobytes()

    def __iter__(self) -> Iterator[bytes]:
        """Stand for the lines, which pandas only looks for in files that it takes."""
        return iter(())


def _numbers(text: NDArray[np.uint8], num_columns: int) -> Array | None:
    """Return the numbers of a plain CSV text; None if some are no numbers."""
    source: Any = _Bytes(text)  # pandas takes more than its types say
    try:
        numbers: Array = pd.read_csv(
            source,
            header=None,
            names=range(num_columns),
            dtype=np.float64,
            na_filter=False,
        ).to_numpy()
        return numbers
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError):
        return None


def _with_energy(values: Array) -> Array:
    """Return (E, pT, eta, phi) from the values of objects, which may lack E."""
    if len(values) == 0 or values.shape[1] == 4:
        return values.reshape(-1, 4)
    pt, eta, phi = values.T
    return np.column_stack([pt * np.cosh(np.clip(eta, -30, 30)), pt, eta, phi])


def _ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all numbers from each start up to its stop."""
    counts = stops - starts
    shifts = starts - (np.cumsum(counts) - counts)
    numbers: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(shifts, counts)
    return numbers


def _joined(parts: list[Ragged]) -> Ragged:
    """Return the events of all parts in the order of their lines."""
    if len(parts) == 1:
        return parts[0]
    shift = np.cumsum([0] + [len(part.places) for part in parts])
    places = np.concatenate([part.places for part in parts])
    order = np.argsort(places)
    rank = np.empty(len(places), np.int64)
    rank[order] = np.arange(len(places))
    event = np.concatenate([part.event + start for part, start in zip(parts, shift, strict=False)])
    return Ragged(
        places[order],
        rank[event],
        np.concatenate([part.types for part in parts]),
        np.concatenate([part.objects for part in parts]),
        np.concatenate([part.met for part in parts])[order],
        np.concatenate([part.labels for part in parts])[order],
    )
