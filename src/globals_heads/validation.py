"""What all settings share: numbers as YAML and the command line give them, errors as a sentence."""

import difflib
import math
import re
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from globals_heads.files import UserError

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
    return int(value) if isinstance(value, str) and value.strip("-").isdecimal() else value


# The limits of a number stand before these in Annotated, so that the JSON schema knows them, too.
AS_INTEGER = BeforeValidator(_integer)
AS_REAL = BeforeValidator(_real_number)
Count = Annotated[int, Field(ge=1, strict=True), AS_INTEGER]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AS_REAL]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), AS_REAL]
Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False), AS_REAL]
SeedCount = Annotated[int, Field(ge=1, le=1000, strict=True), AS_INTEGER]


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
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    if problem["type"] == "extra_forbidden":
        known = _settings_in(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(
            f"The setting {'.'.join(location)} does not exist; its place knows "
            f"{', '.join(known)}{hint}; correct it in {source}."
        )
    must = re.sub("^(Value error, )?(Input|List|String) should", "it should", problem["msg"])
    must = must.replace(" after validation", "")
    if not location and problem["type"] == "value_error":
        # A rule about several settings names them itself.
        raise UserError(
            f"The setting {must.removeprefix('Value error, ')}; correct it in {source}."
        )
    what = f"The setting {'.'.join(location)}" if location else "The configuration"
    raise UserError(f"{what} is {problem['input']!r}, but {must}; correct it in {source}.")


def _settings_in(model: type[BaseModel], location: list[str]) -> list[str]:
    place: Any = model
    for part in location:
        # A mapping of blocks, such as the variants, has a name where a block has a key.
        is_block = hasattr(place, "model_fields")
        place = place.model_fields[part].annotation if is_block else get_args(place)[1]
    return list(place.model_fields)
