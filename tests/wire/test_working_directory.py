"""The working directory as a place below the folder where the session began."""

from __future__ import annotations

from pathlib import Path

import pytest

from modal_gpu_magic.wire.values.working_directory import go_below, place_below


def test_a_place_below_is_made_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_below(tmp_path) == "."
    go_below(tmp_path, "runs/first")
    assert Path.cwd() == tmp_path / "runs" / "first"
    assert place_below(tmp_path) == "runs/first"
    assert place_below(tmp_path / "other") is None
    go_below(tmp_path, ".")
    assert Path.cwd() == tmp_path
    with pytest.raises(ValueError, match="is not below"):
        go_below(tmp_path, "../beside")


def test_a_folder_that_is_gone_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert place_below(tmp_path) is None
