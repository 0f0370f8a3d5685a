"""Words nearest to a mistyped one."""

from __future__ import annotations

import pytest

from modal_gpu_magic.catalog.nearest import either, nearest


@pytest.mark.parametrize(
    "word, known, expected",
    [
        ("timout", ["timeout", "memory"], ["timeout"]),
        ("TIMEOUT", ["timeout"], ["timeout"]),
        ("zzz", ["timeout"], []),
        ("x", [], []),
        ("ab1", ["ab2", "ab3", "ab4", "ab5"], ["ab2", "ab3", "ab4"]),
        ("abcdefgh", ["abcdefgx", "abcd"], ["abcdefgx"]),  # the second is near, but much less so
    ],
)
def test_nearest(word: str, known: list[str], expected: list[str]) -> None:
    assert nearest(word, known) == expected


def test_limit() -> None:
    assert nearest("ab1", ["ab2", "ab3"], limit=1) == ["ab2"]


def test_a_choice_in_words() -> None:
    assert [either(words) for words in (["A"], ["A", "B"], ["A", "B", "C"])] == ["A", "A or B", "A, B or C"]
