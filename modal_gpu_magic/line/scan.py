r"""A line cut into words, each of which knows where every character of it stood, so that any error has its caret.

Quoting is the shell's: '...' is literal, "..." takes \" and \\, a backslash outside takes the next character. What
the words mean is decided in `parse`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import LineError

if TYPE_CHECKING:
    from collections.abc import Iterable

Span = tuple[int, int]
"""Start and end in a text, the end exclusive."""


def refusal(message: str, text: str, start: int = 0, end: int | None = None) -> LineError:
    """A LineError about `text[start:end]`, by default the whole of it, for a reader that sees one word only."""
    return LineError(message, text, start, len(text) if end is None else end)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line without its quotes. `at[i]` is where `text[i]` stands in the line; the last entry is its end."""

    text: str
    line: str
    at: tuple[int, ...]

    def part(self, start: int, end: int) -> Word:
        """The word that is `text[start:end]`."""
        close = self.at[end - 1] + 1 if end > start else self.at[start]
        return Word(self.text[start:end], self.line, (*self.at[start:end], close))

    def parts(self, spans: Iterable[Span]) -> list[Word]:
        """The words at these spans of it."""
        return [self.part(start, end) for start, end in spans]

    def refusal(self, message: str) -> LineError:
        """A LineError about the whole word."""
        return LineError(message, self.line, self.at[0], self.at[-1])

    def placed(self, error: LineError) -> LineError:
        """What a reader said about `text`, said about the line."""
        where = self.part(error.start, error.end) if error.line else self
        return type(error)(error.message, self.line, where.at[0], where.at[-1])


_PIECE = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>(?<!\S)\#.*)
      | "(?P<double>(?:[^"\\]|\\.)*)"
      | '(?P<single>[^']*)'
      | \\(?P<escaped>\S)
      | (?P<plain>[^\s"'\\]+)
      | (?P<fault>.)""",
    re.VERBOSE | re.DOTALL,
)

_FAULTS = {
    '"': 'This " has no partner; close the quotes.',
    "'": "This ' has no partner; close the quotes.",
    "\\": "This \\ continues nothing; remove it.",
}


def scan(line: str) -> list[Word]:
    """The words of a line, up to its comment.

    Raises:
        LineError: quotes that are not closed, a backslash with nothing behind it.
    """
    words: list[Word] = []
    chars: list[tuple[str, int]] = []
    end: int | None = None  # of the word being read; None between words
    for piece in _PIECE.finditer(line):
        kind = piece.lastgroup or ""
        if kind == "fault":
            raise LineError(_FAULTS[piece.group()], line, piece.start(), piece.end())
        if kind not in ("space", "comment"):
            chars += _characters(kind, piece)
            end = piece.end()
        elif end is not None:
            words.append(_word(line, chars, end))
            chars, end = [], None
    if end is not None:
        words.append(_word(line, chars, end))
    return words


def comment_start(line: str) -> int | None:
    """Where the comment of a line begins, quotes heeded; None without one. Never an error."""
    for piece in _PIECE.finditer(line):
        if piece.lastgroup == "fault" and piece.group() != "\\":
            return None  # all that follows an open quote belongs to it
        if piece.lastgroup == "comment":
            return piece.start()
    return None


def _characters(kind: str, piece: re.Match[str]) -> list[tuple[str, int]]:
    """The characters a piece stands for, each with its place in the line."""
    text, start = piece[kind], piece.start(kind)
    placed = [(char, start + offset) for offset, char in enumerate(text)]
    if kind != "double":
        return placed
    escapes = {match.start() for match in re.finditer(r"\\[\"\\]", text)}
    return [pair for offset, pair in enumerate(placed) if offset not in escapes]


def _word(line: str, chars: list[tuple[str, int]], end: int) -> Word:
    return Word("".join(char for char, _ in chars), line, (*(place for _, place in chars), end))
