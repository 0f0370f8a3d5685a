r"""Where the header of a `%%modal_gpu` cell is, and how IPython gets to see it: comments above, lines joined by `\`.

Lines are counted as the user sees them. IPython takes a cell magic on the first line only, and hands over what is
below: `normalise` keeps that text at its lines by putting comment lines in front of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modal_gpu_magic.line.scan import comment_start

MAGIC = "%%modal_gpu"
"""What a header begins with, at the left margin."""

_HEADER = re.compile(rf"{re.escape(MAGIC)}(?=\s|$)")


@dataclass(frozen=True, slots=True)
class CellParts:
    """A cell taken apart.

    Attributes:
        line: what follows the magic's name on the header, continued lines joined.
        body: the cell's code, as written.
        first_body_line: number of the body's first line in the cell, from 1.
        above: the blank lines and comments over the header.
    """

    line: str
    body: str
    first_body_line: int
    above: tuple[str, ...] = ()


def split_cell(source: str) -> CellParts | None:
    """The parts of a cell; None for a cell without our header."""
    lines = source.split("\n")
    top = next((index for index, line in enumerate(lines) if not _is_comment(line)), len(lines))
    if top == len(lines) or not _HEADER.match(lines[top]):
        return None
    header, taken = _joined(lines[top:])
    body = lines[top + taken :]
    line = header.removeprefix(MAGIC).strip()
    return CellParts(line, "\n".join(body), top + taken + 1, tuple(lines[:top]))


def normalise(source: str) -> str:
    """The same cell with its header on the first line, whole, and every line of the body where it was.

    Other cells, and cells that need nothing of this, come back as they are. A body that is a cell magic moves up.
    """
    parts = split_cell(source)
    if parts is None or (source.startswith(MAGIC) and not _continues(source.partition("\n")[0])):
        return source
    padding = [line if line.strip() else "#" for line in parts.above]
    padding += ["#"] * (parts.first_body_line - 2 - len(padding))
    if parts.body.lstrip().startswith("%%"):  # must come first too, and numbers its lines from its own body
        padding = []
    return "\n".join((f"{MAGIC} {parts.line}".rstrip(), *padding, parts.body))


def _is_comment(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _joined(lines: list[str]) -> tuple[str, int]:
    r"""The header from the lines it begins, and how many of them it takes.

    A space takes the place of each `\`, except behind a comma, where a list goes on.
    """
    header, taken = lines[0], 1
    while _continues(header) and taken < len(lines):
        start = header.rstrip()[:-1].rstrip()
        header = f"{start}{'' if start.endswith(',') else ' '}{lines[taken].strip()}"
        taken += 1
    return (header.rstrip()[:-1].rstrip() if _continues(header) else header), taken  # nothing is left to go on with


def _continues(line: str) -> bool:
    line = line.rstrip()
    backslashes = len(line) - len(line.rstrip("\\"))
    return backslashes % 2 == 1 and comment_start(line) is None
