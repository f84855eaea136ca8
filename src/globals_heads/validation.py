"""Checks that all settings share: types of numbers, and one sentence for each wrong value."""

import difflib
import math
import os
import re
import reprlib
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from globals_heads.errors import UserError, brief

M = TypeVar("M", bound=BaseModel)


def _real_number(value: Any) -> Any:
    """Accept what YAML hands over for a real number; `1e-3` arrives as a string."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not true or false")
    if isinstance(value, float) and value == 0 and math.copysign(1, value) < 0:
        raise ValueError("Input should be 0, not -0.0")
    return value


def _integer(value: Any) -> Any:
    """Accept what `--config` hands over for an integer inside a mapping: its text."""
    return int(value) if isinstance(value, str) and re.fullmatch("-?[0-9]{1,18}", value) else value


# Long enough for a path, short enough for a sentence.
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 200

# The limits of a number stand before these in Annotated, so that the JSON schema knows them, too.
AS_INTEGER = BeforeValidator(_integer)
AS_REAL = BeforeValidator(_real_number)
Count = Annotated[int, Field(ge=1, le=10**9, strict=True), AS_INTEGER]
# The weights between two layers of the largest size take a GiB.
Size = Annotated[int, Field(ge=1, le=2**14, strict=True), AS_INTEGER]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AS_REAL]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), AS_REAL]
Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), AS_REAL]
# Snakemake keeps the jobs of all runs in memory, and plans 10,000 runs for a minute or two.
SeedCount = Annotated[int, Field(ge=1, le=10_000, strict=True), AS_INTEGER]


def load_yaml(text: str) -> Any:
    """Return what YAML or JSON says, or raise `ValueError`."""
    try:
        return yaml.safe_load(text)
    except Exception as error:  # impossible dates and deep nesting raise errors of other types
        raise ValueError(brief(error)) from error


def validated(model: type[M], values: Any, source: str) -> M:
    """Return `values` as `model`, or raise one readable sentence.

    Parameters
    ----------
    model
        The settings model.
    values
        What the YAML or JSON gave.
    source
        Where a reader corrects it, for the message.

    Raises
    ------
    UserError
        With the first bad key, its value, what is allowed and the remedy.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
    location = [_in_one_line(part) for part in problem["loc"] if part != "[key]"]
    if problem["type"] == "extra_forbidden":
        known = _settings_in(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(
            f"The setting {'.'.join(location)} does not exist; allowed here: "
            f"{', '.join(known)}{hint}; correct it in {source}."
        )
    expected = re.sub("^(Value error, )?(Input|List|String) should", "it should", problem["msg"])
    expected = expected.replace(" after validation", "")
    if problem["type"] == "list_type" and isinstance(problem["input"], str | int | float):
        expected += f": write [{_value(problem['input']).strip(chr(39))}]"
    if not location and problem["type"] == "value_error":
        # A rule about several settings names them itself.
        raise UserError(
            f"The setting {expected.removeprefix('Value error, ')}; correct it in {source}."
        )
    what = f"The setting {'.'.join(location)}" if location else "The configuration"
    raise UserError(
        f"{what} is {_value(problem['input'])}, but {expected}; correct it in {source}."
    )


def read_validated(model: type[M], path: Path) -> M:
    """Return what a YAML file says as `model`, or raise `UserError`."""
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run snakemake again.") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as YAML ({error}); delete it and run snakemake again."
        ) from error
    return validated(model, content, str(path))


# Endings of the files that a folder of events is searched for.
DATA_ENDINGS = (".csv", ".csv.gz", ".root", ".h5", ".hdf5")
RENAME = "rename the file, or link to it under another name"
DATA_REMEDY = (
    "give the path of an HDF5 token file, of Dark Machines CSV files (also with gzip), of Delphes "
    "ROOT files, a list of paths, or a folder of such files; null simulates events"
)


def data_files(data: str | Sequence[str] | None) -> list[Path]:
    """Return the files that the setting `data` names, by name; those of a folder by their ending.

    Files of the same content under the same names then make the same sample in any order.
    """
    if data is None:
        return []
    paths = [Path(data)] if isinstance(data, str) else [Path(path) for path in data]
    files = [
        file
        for path in paths
        for file in (path.iterdir() if path.is_dir() else [path])
        if not path.is_dir() or (_is_data(file) and file.is_file())
    ]
    return sorted(files, key=lambda file: (file.name, file))


def _is_data(file: Path) -> bool:
    return file.name.lower().endswith(DATA_ENDINGS) and not file.name.startswith(".")


def require_data(data: str | Sequence[str] | None) -> None:
    """Check that the setting `data` names files that can be read; their content is not checked.

    Raises
    ------
    UserError
        If a file is missing, comes twice, or Snakemake cannot handle its name.
    """
    for path in [data] if isinstance(data, str) else data or []:
        _require_printable(path)
        try:
            Path(path).stat()
        except OSError as error:
            raise UserError(
                f"The setting data is {path!r}, which cannot be found ({error.strerror}); "
                f"{DATA_REMEDY}."
            ) from error
        if not data_files(path):
            raise UserError(
                f"The setting data is {path!r}, a folder without files whose names end in "
                f"{', '.join(DATA_ENDINGS)}; {DATA_REMEDY}."
            )
    seen: set[Path] = set()
    for file in data_files(data):
        _require_file(file)
        if file.resolve() in seen:
            raise UserError(
                f"The setting data names {str(file)!r} twice, so that its events could be in two "
                "splits; name each file once."
            )
        seen.add(file.resolve())


def _require_printable(path: str) -> None:
    if not path.isprintable():
        raise UserError(
            f"The setting data is {path!r}, and Snakemake cannot handle line breaks, control "
            f"characters and bytes that are no UTF-8 in the name of a file; {RENAME}."
        )


def _require_file(file: Path) -> None:
    path = str(file)
    _require_printable(path)
    what = f"The setting data is {path!r}"
    if not file.is_file():
        raise UserError(f"{what}, which is not a file; {DATA_REMEDY}.")
    if re.search("[{}]|<[a-z][a-z0-9_]*>", path):
        raise UserError(f"{what}, and Snakemake replaces {{names}} and <names> in paths; {RENAME}.")
    if not os.access(file, os.R_OK):
        raise UserError(f"{what}, which you may not read; {DATA_REMEDY}.")


def require_other_path(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that would replace one of the inputs.

    Raises
    ------
    UserError
        With the path.
    """
    for path in inputs:
        if path.exists() and output.exists() and output.samefile(path):
            raise UserError(f"{output} would be read and written; give the output another path.")


def require_pythia() -> None:
    """Check that events can be made here, or raise `UserError`."""
    missing = [name for name in ("pythia8mc", "fastjet") if find_spec(name) is None]
    if missing:
        raise UserError(
            "The setting data is null, which makes events with Pythia 8, but "
            f"{' and '.join(missing)} cannot be found (there are wheels for Python 3.11 to 3.13 on "
            "Linux x86_64 and on macOS 15 arm64 only); give events of your own with "
            "--config data=PATH, or make them on such a machine."
        )


def require_results(path: Path) -> None:
    """Check that the folder of results can be written to, or raise `UserError`."""
    remedy = "make it a folder that you may write to, or work elsewhere with --directory"
    if path.exists() and not path.is_dir():
        raise UserError(f"{path.absolute()} is not a folder; {remedy}.")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise UserError(f"{path.absolute()} cannot be written to; {remedy}.")


def require_options(arguments: Sequence[str]) -> None:
    """Check the words after --config and --configfile; the profiles call this.

    Snakemake itself answers a wrong one with a traceback.

    Raises
    ------
    SystemExit
        With one sentence, if a file is missing, or a word is no KEY=VALUE.
    """
    option = problem = ""
    for word in arguments:
        if word.startswith("-"):
            option = word
        elif option in ("--config", "-C"):
            key, equals, value = word.partition("=")
            top, *names = key.split(".")
            for name in reversed(names):
                value = f"{{{name}: {value}}}"
            if not equals:
                problem = f"{word} after {option} is no KEY=VALUE; put targets before {option}"
            elif names:
                problem = f"{option} knows top-level keys only, not {key}; write '{top}={value}'"
        elif option in ("--configfile", "--configfiles") and not Path(word).is_file():
            problem = (
                f"{word} after {option} is no file; correct it, and put targets before {option}"
            )
        if problem:
            sys.exit(f"Error: {problem}.")


def _value(value: Any) -> str:
    try:
        return _shown.repr(value)
    except ValueError:  # Python does not spell out integers of thousands of digits
        return f"a number of {value.bit_length()} bits"


def _in_one_line(key: object) -> str:
    text = str(key)
    return text if text.isprintable() and len(text) < _shown.maxstring else _shown.repr(text)


def _settings_in(model: type[BaseModel], location: list[str]) -> list[str]:
    place: Any = model
    for part in location:
        # A mapping of blocks, such as the variants, has a name where a block has a key.
        is_block = hasattr(place, "model_fields")
        place = place.model_fields[part].annotation if is_block else get_args(place)[1]
    return list(place.model_fields)
