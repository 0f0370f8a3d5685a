r"""Find the header of a `%%modal_gpu` cell, below comments and over lines joined by `\`, and normalise it for IPython.

Line numbers are those that the user sees. IPython accepts a cell magic on the first line only, and passes the text
below it: `normalise` keeps that text at its line numbers by inserting comment lines before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from modal_gpu_magic.line.scan import comment_start

MAGIC = "%%modal_gpu"
"""Start of a header, at the left margin."""
HELP: Final = frozenset({"--help", "-help", "-h", "--h", "?", "/?"})
"""Words of a header that ask for the help."""

_HEADER = re.compile(rf"{re.escape(MAGIC)}(?=\s|$)")


@dataclass(frozen=True, slots=True)
class CellParts:
    """The parts of a cell.

    Attributes:
        line: the header's text after the magic's name, with continued lines joined.
        body: the cell's code, unchanged.
        first_body_line: number of the body's first line in the cell, from 1.
        above: the blank lines and comments above the header.
    """

    line: str
    body: str
    first_body_line: int
    above: tuple[str, ...] = ()


def split_cell(source: str) -> CellParts | None:
    """Split a cell into its parts; None for a cell without a `%%modal_gpu` header."""
    lines = source.split("\n")
    top = next((index for index, line in enumerate(lines) if not _is_comment(line)), len(lines))
    if top == len(lines) or not _HEADER.match(lines[top]):
        return None
    header, count = _joined(lines[top:])
    body = lines[top + count :]
    line = header.removeprefix(MAGIC).strip()
    return CellParts(line, "\n".join(body), top + count + 1, tuple(lines[:top]))


def normalise(source: str) -> str:
    """Move the complete header to the first line; keep every line of the body at its line number.

    Cells of other magics, and cells that need no change, are returned unchanged. A body that is a cell magic moves up.
    """
    parts = split_cell(source)
    if parts is None or (source.startswith(MAGIC) and not _continues(source.partition("\n")[0])):
        return source
    padding = [line if line.strip() else "#" for line in parts.above]
    padding += ["#"] * (parts.first_body_line - 2 - len(padding))
    if parts.body.lstrip().startswith("%%"):  # a cell magic must follow at once; it counts lines from its own body
        padding = []
    return "\n".join((f"{MAGIC} {parts.line}".rstrip(), *padding, parts.body))


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _joined(lines: list[str]) -> tuple[str, int]:
    r"""Join the header's lines; return the header and its number of lines.

    A space replaces each `\`, except after a comma, where a list continues.
    """
    header, count = lines[0], 1
    while _continues(header) and count < len(lines):
        start = header.rstrip()[:-1].rstrip()
        header = f"{start}{'' if start.endswith(',') else ' '}{lines[count].strip()}"
        count += 1
    return (header.rstrip()[:-1].rstrip() if _continues(header) else header), count  # drop a `\` without a next line


def _continues(line: str) -> bool:
    line = line.rstrip()
    backslashes = len(line) - len(line.rstrip("\\"))
    return backslashes % 2 == 1 and comment_start(line) is None
