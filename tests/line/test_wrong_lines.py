"""Lines that cannot be run as written. Each gives one sentence, a caret under the fault, and a way out.

Nothing is sent for any of them: the parser is pure, and this is all that a wrong line ever meets.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modal_gpu_magic.errors import LineError, UnknownGpuError, masked
from modal_gpu_magic.line.options import OPTIONS
from modal_gpu_magic.line.parse import parse

TABLE = Path(__file__).with_name("wrong_lines.txt").read_text(encoding="utf-8")
WRONG_LINES = [tuple(case.split("\n")) for case in TABLE.strip("\n").split("\n\n")]

WAYS_OUT = (
    "did you mean",
    "write",
    "keep one",
    "Modal has",
    "presets are",
    "close the quotes",
    "remove it",
    "lists them",
    "list the",
    "there is",
    "a need has",
    "move the code",
)
"""Every sentence has one of these."""


@pytest.mark.parametrize("line, caret, message", WRONG_LINES, ids=[line for line, _, _ in WRONG_LINES])
def test_one_sentence_a_caret_and_a_way_out(line: str, caret: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse(line, machines=("big", "trainer"))
    assert str(caught.value) == f"{message}\n    {masked(line)}\n    {caret}"


def test_the_table_is_long_enough_and_says_nothing_twice() -> None:
    assert len({line for line, _, _ in WRONG_LINES}) == len(WRONG_LINES) >= 200


@pytest.mark.parametrize("message", sorted({message for _, _, message in WRONG_LINES}))
def test_a_message_is_one_sentence_with_a_way_out(message: str) -> None:
    assert re.fullmatch(r"[^\n]+[.?]", message)
    assert not re.search(r"[.?!] [A-Z]", message)
    assert any(way_out in message for way_out in WAYS_OUT)


SUGGESTED = [
    (line, caret, meant[1]) for line, caret, text in WRONG_LINES if (meant := re.search(r"did you mean (\S+)\?$", text))
]


@pytest.mark.parametrize("line, caret, meant", SUGGESTED)
def test_what_is_suggested_is_right(line: str, caret: str, meant: str) -> None:
    """A flag is one of the table; a value is read in the place of the fault, a request by itself."""
    _, *rest = line.split()
    if meant.startswith("--"):
        assert meant in OPTIONS
    elif "--" in line[: caret.index("^")]:
        parse(line[: caret.index("^")] + meant + line[len(caret) :])
    else:
        parse(" ".join((meant, *(word for word in rest if word.startswith("--")))), machines=("big", "trainer"))


@pytest.mark.parametrize("line", ["V100", "H10:2", "H100x2", "any"])
def test_an_unknown_gpu_is_an_error_of_its_own(line: str) -> None:
    with pytest.raises(UnknownGpuError):
        parse(line)
