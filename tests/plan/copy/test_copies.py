"""What counts as unchanged: whatever happened on both sides, in however short a time, it is never wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.plan.copy.copies import SECOND, FileHere, Note, Standing, is_unchanged, standing
from modal_gpu_magic.wire.messages.events import RemoteFile

NOW = 1_000_000


def there(nbytes: int = 5, changed: int = NOW) -> RemoteFile:
    return RemoteFile("x", nbytes, changed)


@pytest.mark.parametrize(
    "here, expected",
    [
        (None, "absent"),
        (FileHere(5, NOW * SECOND, NOW + 1.0), "same"),
        (FileHere(5, NOW * SECOND, NOW + 0.9), "ours"),
        (FileHere(5, NOW * SECOND + 1, NOW + 9.0), "other"),
        (FileHere(6, NOW * SECOND, NOW + 9.0), "other"),
        (FileHere(5, (NOW + 1) * SECOND, NOW + 9.0), "other"),
    ],
)
def test_standing(here: FileHere | None, expected: Standing) -> None:
    assert standing(here, there()) == expected


@pytest.mark.parametrize(
    "note, listed, digest, unchanged",
    [
        (Note(5, NOW, "d"), there(), "d", True),
        (Note(5, NOW, "d"), there(), "e", False),
        (Note(5, NOW, "d"), there(6), "d", False),
        (Note(5, NOW, "d"), there(5, NOW + 1), "d", False),
        (None, there(), "d", False),
        (Note(5, NOW, "d"), None, "d", False),
    ],
)
def test_is_unchanged(note: Note | None, listed: RemoteFile | None, digest: str, unchanged: bool) -> None:
    assert is_unchanged(note, listed, digest) is unchanged


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content at a time; contents of the same size differ by their text."""

    text: str
    at: float

    @property
    def there(self) -> RemoteFile:
        """As a Volume lists it."""
        return RemoteFile("x", len(self.text), int(self.at))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write there", "write here", "get", "put", "wait"]), st.sampled_from("abc"), st.floats(0, 1.5)
    ),
    max_size=12,
)


@given(STEPS)
def test_get_skips_only_what_is_the_same(steps: list[tuple[str, str, float]]) -> None:
    """`same` is what the Volume has; `ours` is never something of the user's."""
    clock, volume = float(NOW), Content("a", float(NOW))
    text, here, fetched = "", None, False
    for step, letter, pause in steps:
        clock += pause
        if step == "write there":
            volume = Content(letter, clock)
        elif step == "write here":
            text, here, fetched = letter, FileHere(1, round(clock * SECOND) | 1, clock), False
        found = standing(here, volume.there)
        assert found != "same" or text == volume.text
        assert found != "ours" or fetched
        if step == "get" and found in ("absent", "ours"):
            text, here, fetched = volume.text, FileHere(1, int(volume.at) * SECOND, clock), True


@given(STEPS)
def test_put_skips_only_what_is_the_same(steps: list[tuple[str, str, float]]) -> None:
    """A put ends when the second it wrote in is over, so a later write has another second."""
    clock, volume, text = float(NOW), Content("", float(NOW)), "a"
    note: Note | None = None
    for step, letter, pause in steps:
        clock += pause
        if step == "write there":
            volume = Content(letter, clock)
        elif step == "write here":
            text = letter
        unchanged = is_unchanged(note, volume.there, text)
        assert not unchanged or text == volume.text
        if step == "put" and not unchanged:
            volume = Content(text, clock)
            note = Note(1, int(clock), text)
            clock = max(clock, int(clock) + 1.0)
