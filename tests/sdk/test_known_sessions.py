"""The sessions that this machine remembers: written when one is used, and seldom again."""

from __future__ import annotations

from pathlib import Path

import pytest

from modal_gpu_magic.sdk import known_sessions
from modal_gpu_magic.sdk.known_sessions import forget, known, remember


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(known_sessions, "_written", {})
    return tmp_path


def files(state: Path) -> list[tuple[str, int]]:
    return sorted((path.name, path.stat().st_mtime_ns) for path in state.rglob("*.json"))


def test_a_session_is_written_when_it_is_used_and_not_with_each_cell(state: Path) -> None:
    remember("s", "local", "a.ipynb")
    first = files(state)
    remember("s", "local", "a.ipynb")
    assert files(state) == first
    remember("s", "local", "b.ipynb")
    assert [each.notebook for each in known()] == ["b.ipynb"]


def test_a_session_that_ended_and_is_made_again_is_written_again(state: Path) -> None:
    remember("s", "local", "a.ipynb")
    forget("s", "local")
    assert known() == ()
    remember("s", "local", "a.ipynb")
    assert [each.session for each in known()] == ["s"]


def test_a_session_that_another_kernel_has_ended_and_this_one_made_again_is_written_again(state: Path) -> None:
    """`%modal_gpu stop s` in the other kernel said for a minute that there is no such session."""
    remember("s", "local", "a.ipynb")
    for path in state.rglob("*.json"):
        path.unlink()
    remember("s", "local", "a.ipynb")
    assert [each.session for each in known()] == ["s"]
