"""A document of headings, paragraphs and tables, as Markdown and as reStructuredText."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Heading(str):
    """The heading of a section."""


class Bold(str):
    """The text of a table's cell that stands out."""


class Table(NamedTuple):
    """A table of plain texts."""

    head: list[str]
    rows: list[list[str]]


# A text is a paragraph, in which what is markup in both languages is markup.
Document = list[str | Table]


def markdown(document: Document) -> str:
    """Return the document as Markdown."""

    def written(part: str | Table) -> str:
        if isinstance(part, Table):
            rows = [
                map(_cell, part.head),
                ["---"] * len(part.head),
                *(map(_cell, row) for row in part.rows),
            ]
            return "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"## {part}" if isinstance(part, Heading) else part

    return "\n\n".join(map(written, document)) + "\n"


def rst(document: Document) -> str:
    """Return the document as reStructuredText, to be included in others."""

    def written(part: str | Table) -> str:
        if isinstance(part, Table):
            rows = map(_rst_row, [part.head, *_without_repeats(part.rows)])
            return "\n".join(
                [".. list-table::", "   :header-rows: 1", "   :widths: auto", "", *rows]
            )
        return f"{part}\n{'-' * len(part)}" if isinstance(part, Heading) else part

    return "\n\n".join(map(written, document)) + "\n"


def _rst_row(row: Iterable[str]) -> str:
    lines = (f"   {' ' if i else '*'} - {_cell(cell)}".rstrip() for i, cell in enumerate(row))
    return "\n".join(lines)


def _without_repeats(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield the rows, blank where they begin as the row above does."""
    above: list[str] = []
    for row in rows:
        same = next((i for i, cell in enumerate(above) if cell != row[i]), len(above))
        yield [""] * same + row[same:]
        above = row


def _cell(text: str) -> str:
    return f"**{plain(text)}**" if isinstance(text, Bold) else plain(text)


def plain(text: str) -> str:
    """Return the text with a backslash before what either language would take for markup."""
    return re.sub(r"[\\*`|]|_(?![^\W_])", r"\\\g<0>", text)
