"""The one error type that users are meant to read, and short forms of others."""

import textwrap


class UserError(Exception):
    """A problem its reader can solve: one sentence with bad value, allowed values and remedy."""


def brief(error: Exception) -> str:
    """Return what `error` says in one short line; some libraries fill a page."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 150, placeholder=" ...")
