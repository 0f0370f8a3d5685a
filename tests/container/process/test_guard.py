"""What is said when this package's code fails after user code: the reason in one sentence, without secrets."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.container.process.guard import BROKEN_STATUS, CLOSED_STATUS, UNABLE_STATUS, Guard, why_unable
from modal_gpu_magic.container.state.files import part
from modal_gpu_magic.wire.values.own_code import words_of

if TYPE_CHECKING:
    from pathlib import Path


class Ended(BaseException):
    """Stands in for the end of the process."""


class Mute(BaseException):
    """An error whose words fail."""

    def __str__(self) -> str:
        raise self


def ended_with(status: int) -> None:
    raise Ended(status)


@pytest.mark.parametrize("raised", [KeyError("x"), SystemExit(3), Mute()])
def test_the_reason_is_told_before_the_end(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr("os._exit", ended_with)
    watching = Guard(tell=lambda *words: told.append(words))
    with pytest.raises(Ended) as ended, watching.ends_if_unable():  # noqa: PT012 - as a cell does
        watching.user_code_began = True
        raise raised
    assert ended.value.args == (UNABLE_STATUS,)
    (text, trace) = told[0]
    assert text == f"The container ends: what follows a cell failed with {type(raised).__name__}: {words_of(raised)}."
    assert "test_guard.py" in trace


def test_a_thread_that_ends_because_its_descriptors_were_closed_is_not_what_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread of the SDK's event loop ends at once; whether the guard looks before or after is chance."""
    reading, writing = os.pipe()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    watching = Guard((thread,))
    monkeypatch.setattr("modal_gpu_magic.container.process.guard._exit", ended_with)
    with pytest.raises(Ended) as alone:
        watching.look()
    os.close(reading)
    os.close(writing)
    with pytest.raises(Ended) as both:
        watching.look()
    assert (alone.value.args, both.value.args) == ((BROKEN_STATUS,), (CLOSED_STATUS,))


def test_an_error_before_user_code_is_raised() -> None:
    with pytest.raises(KeyError), Guard().ends_if_unable():
        raise KeyError("x")


def test_the_place_is_that_of_our_code_and_secrets_are_stars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    with pytest.raises(FileNotFoundError) as failed:
        part(tmp_path, "hf_0123456789", 0, 1)
    text = why_unable(failed.value)
    assert "hf_0123456789" not in text
    assert "FileNotFoundError: [Errno 2] No such file or directory" in text
    assert "(container/state/files.py, line " in text


def test_words_are_bounded() -> None:
    assert len(why_unable(ValueError("x" * 10_000 + "\nsecond line"))) < 300
