"""What a cell wrote below the working directory, and reading it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modal_gpu_magic.container.state import files
from modal_gpu_magic.container.state.files import COARSE_SECONDS, REPORTED_FILES, Watch, listed, part


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with files from before, older than any clock's coarseness."""
    monkeypatch.setattr(files, "MOST_SECONDS", 600.0)  # a busy machine looks at all of it, too
    (tmp_path / "sub").mkdir()
    for path in ("before.txt", "sub/before.bin", ".hidden"):
        (tmp_path / path).write_text("old")
    time.sleep(2 * COARSE_SECONDS)
    return tmp_path


def test_new_and_changed_files_biggest_first(root: Path) -> None:
    watch, began = Watch(root), time.time()
    assert watch.written(began) == ()
    (root / "new.txt").write_text("1")
    (root / "sub/before.bin").write_text("12345")
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/deep").write_text("123")
    assert watch.written(began) == (("sub/before.bin", 5), ("a/b/deep", 3), ("new.txt", 1))
    assert watch.written(time.time()) == ()


def test_one_that_is_unpacked_with_its_old_time_counts(root: Path) -> None:
    watch, began = Watch(root), time.time()
    (root / "unpacked").write_text("1")
    os.utime(root / "unpacked", (1, 1))
    assert watch.written(began) == (("unpacked", 1),)


@pytest.mark.parametrize("path", ["__pycache__/m.pyc", ".cache/x", ".modal_gpu/modules/m.py", ".x", "node_modules/a"])
def test_caches_and_what_is_hidden_do_not_count(root: Path, path: str) -> None:
    watch, began = Watch(root), time.time()
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("1")
    assert watch.written(began) == ()


def test_only_regular_files_on_this_file_system_count(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("volume")
    (outside / "x").write_text("1")
    watch, began = Watch(root), time.time()
    (root / "volume").symlink_to(outside)
    (root / "link").symlink_to(root / "before.txt")
    os.mkfifo(root / "pipe")
    assert watch.written(began) == ()


def test_what_came_from_the_notebook_does_not_count_until_it_is_changed(root: Path) -> None:
    watch, began = Watch(root), time.time()
    (root / "data").mkdir(exist_ok=True)
    (root / "data/x.csv").write_bytes(b"1")
    watch.note(["./data/x.csv"])
    assert watch.written(began) == ()
    (root / "data/x.csv").write_text("12")
    assert watch.written(began) == (("data/x.csv", 2),)


def test_a_very_large_directory_is_looked_at_in_part(root: Path) -> None:
    for number in range(2 * REPORTED_FILES):
        (root / f"f{number}").touch()
    time.sleep(2 * COARSE_SECONDS)
    watch, began = Watch(root, most=REPORTED_FILES + 5), time.time()
    assert watch.written(began) == ()
    for number in range(2 * REPORTED_FILES):
        (root / f"f{number}").write_text("1")
    assert len(watch.written(began)) == REPORTED_FILES


def test_listed_and_read_in_parts(root: Path) -> None:
    (root / "sub/__pycache__").mkdir()
    (root / "sub/__pycache__/m.pyc").touch()
    assert [(each.path, each.nbytes) for each in listed(root, "sub")] == [("sub/before.bin", 3)]
    assert [each.path for each in listed(root, "before.txt")] == ["before.txt"]
    assert [each.path for each in listed(root, "")] == [".hidden", "before.txt", "sub/before.bin"]
    assert listed(root, "nowhere") == ()
    assert [part(root, "before.txt", offset, 2) for offset in (0, 2, 4)] == [b"ol", b"d", b""]
