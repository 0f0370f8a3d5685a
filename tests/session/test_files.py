"""Which of the notebook's files travel with a cell, and when again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modal_gpu_magic.session.files import FILE_BYTES, Files, that_travel


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebooks = tmp_path / "notebooks"
    (notebooks / "sub").mkdir(parents=True)
    monkeypatch.chdir(notebooks)
    Path("a.csv").write_bytes(b"one")
    Path("sub/b.csv").write_bytes(b"b")
    Path("../outside.csv").write_bytes(b"o")
    for name, size in (("just.bin", FILE_BYTES), ("large.bin", FILE_BYTES + 1)):
        with Path(name).open("wb") as file:
            file.truncate(size)


def change(path: str, content: bytes) -> None:
    before = Path(path).stat().st_mtime_ns
    Path(path).write_bytes(content)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


@pytest.mark.parametrize(
    "path, travels",
    [
        ("a.csv", True),
        ("./a.csv", True),
        ("sub/b.csv", True),
        ("just.bin", True),
        ("large.bin", False),
        ("sub", False),
        ("nowhere.csv", False),
        ("../outside.csv", False),
        ("sub/../../outside.csv", False),
        ("/etc/hostname", False),
        ("", False),
        ("a\0b", False),
    ],
)
def test_small_files_below_the_notebooks_folder(path: str, travels: bool) -> None:
    assert that_travel([path]) == ((path,) if travels else ())


def test_a_file_travels_once_and_again_when_it_was_changed() -> None:
    files = Files()
    assert files.outgoing(["a.csv", "sub/b.csv"]) == {"a.csv": b"one", "sub/b.csv": b"b"}
    files.sent(["a.csv", "sub/b.csv"])
    assert files.outgoing(["a.csv", "sub/b.csv"]) == {}
    change("a.csv", b"two")
    assert files.outgoing(["a.csv", "sub/b.csv"]) == {"a.csv": b"two"}


def test_one_that_did_not_arrive_travels_again() -> None:
    files = Files()
    files.outgoing(["a.csv"])
    assert files.outgoing(["a.csv"]) == {"a.csv": b"one"}


def test_one_that_is_written_to_while_the_cell_runs_travels_again() -> None:
    files = Files()
    files.outgoing(["a.csv"])
    change("a.csv", b"two")
    files.sent(["a.csv"])
    assert files.outgoing(["a.csv"]) == {"a.csv": b"two"}


def test_one_that_is_gone_does_not_travel() -> None:
    files = Files()
    files.outgoing(["a.csv"])
    files.sent(["a.csv"])
    Path("a.csv").unlink()
    assert files.outgoing(["a.csv"]) == {}


def test_a_new_container_gets_everything() -> None:
    files = Files()
    files.outgoing(["a.csv"])
    files.sent(["a.csv"])
    files.forget()
    assert files.outgoing(["a.csv"]) == {"a.csv": b"one"}
