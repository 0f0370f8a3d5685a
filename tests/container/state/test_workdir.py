"""The container's copy of the project: where cells run, and that a cell's own files are never overwritten."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modal_gpu_magic.container.state.workdir import PACKAGE, PRIVATE_DIRECTORY, Workdir
from modal_gpu_magic.wire.messages.events import ProjectFiles, SentFile


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workdir]:
    """A container's, whose first directory has this package, a file of the image, and something hidden."""
    home = tmp_path / "root"
    (home / PACKAGE).mkdir(parents=True)
    (home / "of the image.txt").write_text("image")
    (home / ".profile").touch()
    monkeypatch.chdir(home)
    before = list(sys.path)
    yield Workdir(home)
    sys.path[:] = before


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def take(workdir: Workdir, place: str = "p/nb", gone: tuple[str, ...] = (), **files: str) -> list[str]:
    """Send text files below `p/nb`."""
    contents = {f"p/nb/{name}": SentFile(text.encode(), 0o640, 10**18) for name, text in files.items()}
    return workdir.take(ProjectFiles(place, ("p/nb/empty",), contents, gone))


def test_nothing_of_ours_is_in_it_and_the_image_s_files_are_found(workdir: Workdir) -> None:
    take(workdir)
    assert Path.cwd() == workdir.path
    assert names(".") == ["empty", "of the image.txt"]
    assert Path("of the image.txt").read_text() == "image"
    assert names("..") == ["nb"]
    assert names("../..") == ["p"]
    assert workdir.path.is_relative_to(workdir.start_directory / PRIVATE_DIRECTORY)
    assert "" in sys.path


def test_a_file_is_as_it_was_here(workdir: Workdir) -> None:
    assert take(workdir, x="1") == ["p/nb/x"]
    facts = Path("x").stat()
    assert (Path("x").read_text(), facts.st_mode & 0o777, facts.st_mtime_ns) == ("1", 0o640, 10**18)
    take(workdir, x="2")
    assert Path("x").read_text() == "2"


def test_a_cell_stays_where_it_went_until_the_kernel_moves(workdir: Workdir) -> None:
    take(workdir)
    os.chdir("empty")
    take(workdir)
    assert Path.cwd().name == "empty"
    take(workdir, "p/other")
    assert Path.cwd() == workdir.tree / "p/other"


@pytest.mark.parametrize("how", ["written first", "changed", "replaced by a directory", "replaced by a link"])
def test_what_a_cell_made_is_kept_and_said(workdir: Workdir, how: str, tmp_path: Path) -> None:
    if how != "written first":
        take(workdir, x="1")
    take(workdir)
    path = Path("x")
    path.unlink(missing_ok=True)
    (tmp_path / "elsewhere").write_text("elsewhere")
    made = {
        "replaced by a directory": path.mkdir,
        "replaced by a link": lambda: path.symlink_to(tmp_path / "elsewhere"),
    }
    made.get(how, lambda: path.write_text("a cell's"))()
    assert take(workdir, x="2") == []
    notes, refused = workdir.take_notes()
    assert refused == ("p/nb/x",)
    assert notes[0].startswith(
        "A cell changed `x` in the container, and the notebook's file differs: the container's file is kept."
    )
    assert path.is_dir() or path.read_text() in ("a cell's", "elsewhere")
    assert workdir.take_notes() == ([], ())


def test_the_same_change_on_both_sides_is_none(workdir: Workdir) -> None:
    take(workdir, x="1")
    Path("x").write_text("2")
    assert take(workdir, x="2") == ["p/nb/x"]
    assert take(workdir, x="3") == ["p/nb/x"]
    assert workdir.take_notes() == ([], ())


def test_one_that_a_cell_removed_is_written_anew(workdir: Workdir) -> None:
    take(workdir, x="1")
    Path("x").unlink()
    take(workdir, x="2")
    assert Path("x").read_text() == "2"


def test_what_is_removed_here_goes_unless_a_cell_changed_it(workdir: Workdir) -> None:
    take(workdir, x="1", y="1")
    Path("y").write_text("a cell's")
    take(workdir, gone=("p/nb/x", "p/nb/y", "p/nb/empty", "p/nb"))
    assert names(".") == ["empty", "of the image.txt", "y"], "made again, as a cell asks for it"
    notes, refused = workdir.take_notes()
    assert (len(notes), refused) == (1, ("p/nb/y",))


@pytest.mark.parametrize("path", ["../x", "p/../../x", "p/nb/out/x", "p/nb/of the image.txt/x"])
def test_nothing_is_written_outside_of_the_copy(workdir: Workdir, path: str, tmp_path: Path) -> None:
    take(workdir)
    outside = tmp_path / "outside"
    outside.mkdir()
    Path("out").symlink_to(outside)
    workdir.take(ProjectFiles("p/nb", (path,), {path: SentFile(b"x")}, (path,)))
    assert list(outside.iterdir()) == []
    assert not (workdir.tree.parent / "x").exists()
    assert workdir.take_notes()[1] == (path,)


def test_where_the_first_directory_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "file"
    home.touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert Workdir(home).tree.is_relative_to(tmp_path)
