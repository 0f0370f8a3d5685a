"""A match is the same match on the other side: groups, spans, limits and text, however it was found."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, why_not
from tests.wire.carried import carried

MATCHES = {
    "search": re.search(r"b(c)?", "abcb"),
    "match": re.match(r"(?P<first>a)(?P<second>x)?", "abc"),
    "fullmatch past the first alternative": re.fullmatch(r"a|ab", "ab"),
    "match that a search finds elsewhere": re.compile(r"(?<=a)b|b").match("ab", 1),
    "the third of finditer": [*re.finditer(r"\d", "1 2 3 4")][2],
    "the last, empty": [*re.finditer(r"x*", "axa")][-1],
    "with limits": re.compile(r"\w+$").search("one two three", 4, 7),
    "of bytes": re.search(rb"\xff(.)", b"\x00\xff\x01", re.DOTALL),
    "of a bytearray": re.search(rb"b", bytearray(b"ab")),
    "with flags": re.search(r"B # a comment", "ab", re.VERBOSE | re.IGNORECASE),
}


def facts(match: Any) -> tuple[Any, ...]:
    """All that a program can read from a match."""
    found = match.re.pattern, match.re.flags, match.string, match.pos, match.endpos, match.regs
    return (*found, match.group(), match.groups(), match.groupdict(), match.lastindex, match.lastgroup)


@pytest.mark.parametrize("match", MATCHES.values(), ids=MATCHES.keys())
def test_a_match_arrives_as_found(match: Any) -> None:
    assert facts(carried(match)) == facts(match)
    assert fingerprint(match, {}) == fingerprint(carried(match), {})


@given(
    st.text("ab", max_size=8), st.sampled_from([r"a|ab", r"(a)(b)?", r"(?:a*)(b)*", r"(?<!a)b|a$", r"\b", r"(a|b)+?"])
)
def test_each_match_of_a_text_arrives(text: str, pattern: str) -> None:
    found = [*re.finditer(pattern, text), re.match(pattern, text), re.fullmatch(pattern, text)]
    for match in filter(None, found):
        assert facts(carried(match)) == facts(match)


def test_a_match_shares_its_text() -> None:
    text = bytearray(b"ab")
    value = carried([text, re.search(b"b", text)])
    assert value[1].string is value[0]


def test_a_match_in_a_text_that_changed_is_refused() -> None:
    text = bytearray(b"ab")
    match = re.search(b"b", text)
    text[:] = b"aa"
    assert why_not(match, {}) == "it is a re.Match, which cannot be pickled"
