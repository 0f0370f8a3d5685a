"""No message of the package uses a forbidden word, and the check finds each kind of message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.checks.wording import FORBIDDEN, PACKAGE, faults

if TYPE_CHECKING:
    from pathlib import Path


def test_no_message_uses_a_forbidden_word() -> None:
    assert list(faults(PACKAGE)) == []


@pytest.mark.parametrize(
    "source, count",
    [
        ('raise SetupError("it is there")', 1),
        ('raise errors.SetupError("it is There")', 1),
        ('raise RunError(f"{x} came home")', 1),
        ('front.say("we told you")', 1),
        ('note(text="stay here")', 1),
        ('raise SetupError("theres where hereby adhere")', 0),
        ('raise SetupError("write `here` or --there")', 0),
        ('"""There is home."""', 0),
        ('x = "there"', 0),
        ('raise KeyError("home")', 0),
    ],
)
def test_a_message_is_found(tmp_path: Path, source: str, count: int) -> None:
    (tmp_path / "a.py").write_text(source)
    assert len(list(faults(tmp_path))) == count


def test_each_word_has_advice() -> None:
    assert all(FORBIDDEN.values())
