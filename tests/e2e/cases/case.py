"""What a case of the table is, and how its text is read. The texts lie beside this module, one module a kind.

A case is a short notebook. `N> ` begins a native cell, `R> ` a cell under the magic (`R --fetch 1KB> ` with options),
`END> ` a cell that puts the process back as it was, on every side, uncompared. An exclamation mark (`R!> `) says that the
cell raises. A first line `REFUSED: TEXT` says that the magic may refuse a remote cell instead, with TEXT in the message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BEGIN: Final = re.compile(r"^(N|R|END)( [^>!\n]*)?(!?)> ?", re.MULTILINE)
REFUSED: Final = re.compile(r"\A\s*REFUSED: (.*)\n")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a case."""

    side: str
    """`N`, `R` or `END`."""
    source: str
    options: str = ""
    """Options of the magic after its GPU."""
    raises: bool = False
    """Whether the cell raises in a bare kernel."""


@dataclass(frozen=True, slots=True)
class Case:
    """A short notebook whose cells must show the same with and without the magic."""

    id: str
    cells: tuple[Cell, ...]
    refused: str = ""
    """Part of the message, if the magic may refuse a remote cell before the cell runs."""


def read(cases: Mapping[str, str]) -> tuple[Case, ...]:
    """The cases of one kind from their texts by id.

    Raises:
        ValueError: A case has no cell under the magic, or text before its first cell.
    """
    return tuple(_read(name, text) for name, text in cases.items())


def _read(name: str, text: str) -> Case:
    refused = REFUSED.match(text)
    text = text[refused.end() :] if refused else text
    before, *parts = BEGIN.split(text)
    quads = [parts[place : place + 4] for place in range(0, len(parts), 4)]
    cells = tuple(
        Cell(side, source.strip("\n"), (options or "").strip(), bool(raises)) for side, options, raises, source in quads
    )
    if before.strip() or all(cell.side != "R" for cell in cells):
        raise ValueError(f"case {name!r}: its text begins with a cell, and one cell at least is marked R>")
    return Case(name, cells, refused[1].strip() if refused else "")
