r"""Split a line into words that record the position of every character, so that every error can show a caret.

Quoting follows the shell: '...' is literal, "..." allows \" and \\, and a backslash outside quotes escapes the next
character. `parse` interprets the words.
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
    """Make a LineError about `text[start:end]` (default: all), for a reader that gets one word only."""
    return LineError(message, text, start, len(text) if end is None else end)


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line.

    Attributes:
        text: the word without its quotes.
        line: the whole line.
        at: `at[i]` is the position of `text[i]` in the line; the last entry is the word's end.
    """

    text: str
    line: str
    at: tuple[int, ...]

    def part(self, start: int, end: int) -> Word:
        """Return `text[start:end]` as a word."""
        close = self.at[end - 1] + 1 if end > start else self.at[start]
        return Word(self.text[start:end], self.line, (*self.at[start:end], close))

    def parts(self, spans: Iterable[Span]) -> list[Word]:
        """Return the parts of the word at these spans."""
        return [self.part(start, end) for start, end in spans]

    def refusal(self, message: str) -> LineError:
        """Make a LineError about the whole word."""
        return LineError(message, self.line, self.at[0], self.at[-1])

    def placed(self, error: LineError) -> LineError:
        """Convert a reader's error about `text` into an error about the line."""
        word = self.part(error.start, error.end) if error.line else self
        return type(error)(error.message, self.line, word.at[0], word.at[-1])


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
    """Split a line into words, up to its comment.

    Raises:
        LineError: unclosed quotes, or a backslash without a next character.
    """
    words: list[Word] = []
    chars: list[tuple[str, int]] = []
    end: int | None = None  # end of the current word; None between words
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
    """Return the position of a line's comment, outside quotes, or None. Never raises."""
    for piece in _PIECE.finditer(line):
        if piece.lastgroup == "fault" and piece.group() != "\\":
            return None  # the rest of the line belongs to the open quote
        if piece.lastgroup == "comment":
            return piece.start()
    return None


def _characters(kind: str, piece: re.Match[str]) -> list[tuple[str, int]]:
    """Return the characters of a piece, each with its position in the line."""
    text, start = piece[kind], piece.start(kind)
    placed = [(char, start + offset) for offset, char in enumerate(text)]
    if kind != "double":
        return placed
    escapes = {match.start() for match in re.finditer(r"\\[\"\\]", text)}
    return [pair for offset, pair in enumerate(placed) if offset not in escapes]


def _word(line: str, chars: list[tuple[str, int]], end: int) -> Word:
    return Word("".join(char for char, _ in chars), line, (*(place for _, place in chars), end))
