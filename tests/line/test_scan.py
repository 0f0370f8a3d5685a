"""Words, quotes and comments, and that every character knows its place."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.scan import comment_start, scan

Refused = Callable[[Callable[[], object]], "LineError | None"]


@pytest.mark.parametrize(
    "line, words",
    [
        ("", []),
        ("  ", []),
        ("H100:2  --pip\ttorch", ["H100:2", "--pip", "torch"]),
        ('--pip "torch>=2.1, <3"', ["--pip", "torch>=2.1, <3"]),
        ("--run 'a \"b\" \\c'", ["--run", 'a "b" \\c']),
        (r'"a\"b\\c\n"', ['a"b\\c\\n']),
        (r"a\ b", None),
        (r"a\"b", ['a"b']),
        ("a'b c'd\"e f\"", ["ab cde f"]),
        ('""', [""]),
        ("H100 # a comment, it's all", ["H100"]),
        ("# all", []),
        ("repo#tag 'a'#b", ["repo#tag", "a#b"]),
        ('"# no" x', ["# no", "x"]),
    ],
)
def test_words(line: str, words: list[str] | None) -> None:
    if words is None:
        with pytest.raises(LineError):
            scan(line)
    else:
        assert [word.text for word in scan(line)] == words


@pytest.mark.parametrize(
    "line, at, message",
    [
        ('x "ab', 2, "no partner"),
        ("x 'ab", 2, "no partner"),
        ("x \\", 2, "continues nothing"),
        ('"a"b"', 4, "no partner"),
    ],
)
def test_faults(line: str, at: int, message: str) -> None:
    with pytest.raises(LineError, match=message) as caught:
        scan(line)
    assert (caught.value.line, caught.value.start, caught.value.end) == (line, at, at + 1)


@given(st.text(alphabet="ab ,'\"\\#\n-", max_size=20))
def test_characters_stand_where_they_say(refused: Refused, line: str) -> None:
    error = refused(lambda: scan(line))
    assert error is None or 0 <= error.start < error.end <= len(line)
    for word in [] if error else scan(line):
        assert len(word.at) == len(word.text) + 1
        assert "".join(line[place] for place in word.at[:-1]) == word.text
        assert list(word.at) == sorted(word.at)
        for place in range(len(word.text)):
            assert word.part(place, place + 1).at[0] == word.at[place]


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8), max_size=5
    )
)
def test_what_the_shell_quotes_is_read_back(texts: list[str]) -> None:
    assert [word.text for word in scan(shlex.join(texts))] == texts


@pytest.mark.parametrize(
    "line, start",
    [("a # b", 2), ("# b", 0), ("a#b", None), ("'# a' # b", 6), ("'# a", None), ("a \\", None), ("a \\ # b", 4)],
)
def test_where_a_comment_starts(line: str, start: int | None) -> None:
    assert comment_start(line) == start
