"""The one error type that users are meant to read, and short forms of other errors."""

import textwrap


class UserError(Exception):
    """A problem that the user can solve: one sentence with bad value, allowed values and remedy."""


def brief(error: Exception) -> str:
    """Return the message of `error` in one short line; some libraries fill a page."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 150, placeholder=" ...")
