"""Warnings are hidden inside the blocks, and shown again after them, however the blocks of several threads overlap."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import Any

import pytest

from modal_gpu_magic.wire.values.silent_warnings import unwarned


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is shown."""
    found: list[str] = []

    def show(message: Any, *_: Any, **__: Any) -> None:
        found.append(str(message))

    monkeypatch.setattr(warnings, "showwarning", show)
    monkeypatch.setattr(warnings, "filters", [("always", None, Warning, None, 0)])
    return found


def test_a_block_hides_warnings(shown: list[str]) -> None:
    warnings.warn("before", stacklevel=1)
    with unwarned(), unwarned():
        warnings.warn("inside", stacklevel=1)
    warnings.warn("after", stacklevel=1)
    assert shown == ["before", "after"]


def test_a_block_that_begins_in_another_one_may_end_after_it(shown: list[str]) -> None:
    first, second = unwarned(), unwarned()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    warnings.warn("inside", stacklevel=1)
    second.__exit__(None, None, None)
    warnings.warn("after", stacklevel=1)
    assert shown == ["after"]


def test_what_a_thread_of_the_user_restores_hides_nothing(shown: list[str]) -> None:
    with unwarned():
        users = warnings.catch_warnings()
        users.__enter__()
    warnings.warn("between", stacklevel=1)
    users.__exit__(None, None, None)
    warnings.warn("after", stacklevel=1)
    assert shown == ["between", "after"]


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_what_a_block_sets_lasts(shown: list[str], action: Any) -> None:
    """A cell's answer, and the state of the process with it, is written inside a block."""
    warnings.simplefilter("error" if action == "ignore" else "always")
    with unwarned():
        warnings.warn("inside", stacklevel=1)
        warnings.simplefilter(action)
    with pytest.raises(UserWarning) if action == "error" else nullcontext():
        warnings.warn("after", stacklevel=1)
    assert shown == []


def test_a_hidden_warning_is_shown_when_it_comes_outside(shown: list[str]) -> None:
    """Python shows a warning once a line, and a hidden one was not shown."""
    warnings.filters[:] = [("default", None, Warning, None, 0)]  # type: ignore[index]
    with unwarned():
        _warn()
    _warn()
    _warn()
    assert shown == ["of one line"]


def _warn() -> None:
    warnings.warn("of one line", stacklevel=1)


def test_filters_that_are_no_list_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "filters", (("ignore", None, Warning, None, 0),))
    with unwarned():
        pass
    assert warnings.filters == (("ignore", None, Warning, None, 0),)


def test_a_function_that_the_user_sets_meanwhile_is_kept(shown: list[str]) -> None:
    seen: list[str] = []
    with unwarned():
        warnings.showwarning = lambda message, *_, **__: seen.append(str(message))
    warnings.warn("after", stacklevel=1)
    assert (shown, seen) == ([], ["after"])
