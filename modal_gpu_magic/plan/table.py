"""A table as a value, rendered as text for a terminal or as HTML for a notebook."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass
from itertools import zip_longest

WIDTH = 100
"""Default width of the text, characters."""

_GAP = 2
_LEAST = 24
"""Smallest width of the last column, characters."""

_CELL = "padding: 0.2em 0.8em; vertical-align: top; text-align"
"""JupyterLab aligns every cell to the right; colours and lines are the theme's."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        head: title of the column.
        width: width in characters at which text is wrapped; 0: the width of the longest cell. The last column takes
            the remaining width.
        right: align the cells to the right, as for numbers.
    """

    head: str
    width: int = 0
    right: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        cells: one text for each column.
        note: a remark, shown on a line of its own in text, and below the last cell in HTML.
    """

    cells: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, rows, and lines below the rows.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    foot: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that each row has one cell for each column."""
        if any(len(row.cells) != len(self.columns) for row in self.rows):
            raise ValueError(f"each row must have {len(self.columns)} cells, one for each column.")

    def text(self, width: int = WIDTH) -> str:
        """Return the table as text, wrapped to `width` characters if the columns allow."""
        widths = self._widths(width)
        lines = self._lines(tuple(column.head for column in self.columns), widths)
        indent = " " * (widths[0] + _GAP)
        for row in self.rows:
            lines += self._lines(row.cells, widths)
            lines += textwrap.wrap(row.note, width, initial_indent=indent, subsequent_indent=indent)
        for line in self.foot:
            lines += textwrap.wrap(line, width)
        return "\n".join(lines)

    def html(self) -> str:
        """Return the table as an HTML fragment."""
        heads = "".join(_cell("th", column.head, column) for column in self.columns)
        rows = "".join(f"<tr>{self._html_cells(row)}</tr>\n" for row in self.rows)
        foot = "".join(f"<div>{html.escape(line)}</div>\n" for line in self.foot)
        return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n{foot}"

    def _html_cells(self, row: Row) -> str:
        """Return the cells of a row. Only the last cell is wrapped; it has the remark below its text."""
        *first, last = zip(row.cells, self.columns, strict=True)
        short = "".join(_cell("td", text, column, breaks=bool(column.width)) for text, column in first)
        return short + _cell("td", last[0], last[1], row.note)

    def _repr_html_(self) -> str:
        return self.html()

    def __str__(self) -> str:
        """Return the table as text of the default width."""
        return self.text()

    def _widths(self, width: int) -> list[int]:
        texts = zip(*(row.cells for row in self.rows), strict=True) if self.rows else [()] * len(self.columns)
        found = [
            min(max(map(len, (column.head, *cells))), column.width or width)
            for column, cells in zip(self.columns, texts, strict=True)
        ]
        left = width - sum(found[:-1]) - _GAP * (len(found) - 1)
        return [*found[:-1], min(found[-1], max(left, _LEAST))]

    def _lines(self, cells: tuple[str, ...], widths: list[int]) -> list[str]:
        """Return the lines of one row, each cell wrapped to its column."""
        wrapped = [textwrap.wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
        return [
            (" " * _GAP)
            .join(
                text.rjust(width) if column.right else text.ljust(width)
                for text, width, column in zip(line, widths, self.columns, strict=True)
            )
            .rstrip()
            for line in zip_longest(*wrapped, fillvalue="")
        ]


def _cell(tag: str, text: str, column: Column, note: str = "", *, breaks: bool = True) -> str:
    side = "right" if column.right else "left"
    long = "; overflow-wrap: anywhere; min-width: 7em" if column.width and tag == "td" else ""
    whole = long if breaks else "; white-space: nowrap"
    below = f"<br><small>{html.escape(note)}</small>" if note else ""
    return f'<{tag} style="{_CELL}: {side}{whole}">{html.escape(text)}{below}</{tag}>'
