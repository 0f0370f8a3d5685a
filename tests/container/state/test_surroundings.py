"""Directory, files, modules, Volumes and process of a cell: as in the notebook before it, and what it wrote."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.container.state import files as state_files
from modal_gpu_magic.container.state import installs
from modal_gpu_magic.container.state.installed_versions import PYTHON
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.process import ProcessState
from modal_gpu_magic.container.state.saved_session import Options, SavedSession
from modal_gpu_magic.container.state.saving import Moment
from modal_gpu_magic.container.state.surroundings import Surroundings
from modal_gpu_magic.container.state.volumes import NO_VOLUMES, Volumes
from modal_gpu_magic.wire.messages.events import Modules, ProjectFiles, Request, SentFile
from modal_gpu_magic.wire.messages.versions import Version, installed
from modal_gpu_magic.wire.saved.reading import SavedState
from tests.session.two_memories import new_namespace

STATES = {"state": {"": "value"}}


class Process(ProcessState):
    """A process whose state nobody sets: what was to be set is noted, in order."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def begin_in(self, folder: Path) -> None:
        assert Path.cwd() == folder
        self._heard.append("directory")

    def take(self, states: Any) -> None:
        self._heard.append(f"states {states}")

    def latest(self) -> dict[str, Any]:
        return STATES


class Container:
    """The surroundings of a container that begins in a directory."""

    def __init__(self, start: Path) -> None:
        start.mkdir()
        os.chdir(start)
        self.heard: list[str] = []
        namespace = new_namespace()
        self.sync = NamespaceSync(namespace, dict(namespace))
        self.surroundings = Surroundings(self.sync, Process(self.heard), self.heard.append)

    def prepare(self, volumes: Volumes = NO_VOLUMES, **more: Any) -> tuple[str, ...]:
        self.heard.clear()
        return self.surroundings.prepare(Request("1", "1", "", 1, **more), volumes)

    @property
    def saved_files(self) -> set[str]:
        return set(self.surroundings.moment("g", "a").files)

    def save(self, volume: Path) -> SavedState:
        """Save the session, and open what was saved."""
        saved = SavedSession(volume, "one", self.sync, lambda: self.surroundings.moment("g", ""), 1e9)
        saved.options(Options(10**9))
        saved.ran("1")
        assert saved.save_now() is not None
        state = SavedState.open_at(lambda path: (volume / path).read_bytes())
        assert state is not None
        return state


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Container]:
    """Return a function that makes containers by name. Directory, import path and environment are restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setattr(installs, "_done", set[str]())
    return lambda name: Container(tmp_path / name)


def files(place: str = "p/nb", **contents: str) -> ProjectFiles:
    """Return files of the directory `p/nb`."""
    return ProjectFiles(place, contents={f"p/nb/{name}": SentFile(text.encode()) for name, text in contents.items()})


def test_all_is_in_the_notebook_s_state_before_a_cell(new: Callable[[str], Container]) -> None:
    def fail() -> None:
        raise OSError("open file")

    container = new("one")
    pytest_version = installed(["pytest"])["pytest"]
    clause = Version("pytest", "0").unlike(pytest_version)
    modules = Modules(("/p/nb/sent_module.py",), {"/p/nb/sent_module.py": b"value = 1"}, ("p/nb",))
    more: dict[str, Any] = {"modules": modules, "states": STATES, "versions": {"pytest": Version("pytest", "0")}}
    refused = container.prepare(Volumes({"data": fail}), files=files(a="1"), **more)
    assert (refused, Path("a").read_text(), Path.cwd()) == ((), "1", container.surroundings.workdir.path)
    assert __import__("sent_module").value == 1
    del sys.modules["sent_module"]
    assert container.heard == [
        "directory",
        "Volume data was not reloaded, so the cell sees it as it was: open file",
        f"{clause}.",
        f"states {STATES}",
    ]
    assert container.surroundings.versions.explain({"x": "pytest"}) == {"x": f"pytest; {clause}"}


def test_a_file_that_a_cell_has_changed_is_refused_with_a_note(new: Callable[[str], Container]) -> None:
    container = new("one")
    container.prepare(files=files(a="1"))
    Path("a").write_text("cell's")
    assert container.prepare(files=files(a="2")) == ("p/nb/a",)
    (note,) = [line for line in container.heard if line.startswith("A cell changed")]
    assert "`a`" in note
    assert container.prepare() == ()


def test_files_that_cells_wrote_are_known_by_both_names(
    new: Callable[[str], Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell reads them relative to its directory; they are saved by their path in the copy of the project."""
    monkeypatch.setattr(state_files, "MOST_SECONDS", 600.0)  # a busy machine looks at all files, too
    container = new("one")
    modules = Modules(("/p/nb/m.py", "other.py"), {"/p/nb/m.py": b"1", "other.py": b"2"})
    container.prepare(files=files())
    container.prepare(files=files(a="1", b="2"), modules=modules)
    before = time.time()
    assert container.surroundings.written(before - 60) == (), "the notebook has sent them"
    Path("b").write_text("22")
    Path("../c").write_text("333")
    assert container.surroundings.written(before) == (("../c", 3), ("b", 2))
    assert container.saved_files == {"p/c", "p/nb/b"}
    before = time.time()
    Path("d").write_text("4")
    assert container.surroundings.written(before) == (("d", 1),)
    assert container.saved_files == {"p/c", "p/nb/b", "p/nb/d"}


def test_files_outside_of_the_copy_are_not_saved(new: Callable[[str], Container]) -> None:
    """Before the first cell, the watch is of the directory in which the container begins."""
    container = new("one")
    Path("x").write_text("1")
    assert [nbytes for _, nbytes in container.surroundings.written(0.0)] == [1]
    assert container.saved_files == set()


def test_the_watch_is_of_the_project_s_copy_when_the_kernel_changes_its_directory(
    new: Callable[[str], Container],
) -> None:
    container = new("one")
    container.prepare(files=files())
    first, root = container.sync.watch, container.sync.root
    assert (first.root, root) == (container.surroundings.workdir.tree, container.surroundings.workdir.path)
    container.prepare()
    assert container.sync.watch is first
    container.prepare(files=ProjectFiles("p/other"))
    assert container.sync.watch is not first
    assert container.sync.root == root.parent / "other" == Path.cwd()


def test_what_is_saved_beside_the_values(new: Callable[[str], Container]) -> None:
    container = new("one")
    container.prepare(files=files())
    installs._done.update({"one==1", "another"})
    Path("a").write_text("1")
    container.surroundings.written(0.0)
    assert container.surroundings.moment("g", "claim") == Moment(
        generation="g",
        claim="claim",
        python=PYTHON,
        states=STATES,
        packages=("another", "one==1"),
        tree=container.surroundings.workdir.tree,
        place="p/nb",
        files=("p/nb/a",),
    )


def test_the_next_container_has_the_files_and_saves_them_again(new: Callable[[str], Container], tmp_path: Path) -> None:
    first = new("one")
    first.prepare(files=files())
    for name in "ab":
        Path(name).write_text(name)
    first.surroundings.written(0.0)
    state = first.save(tmp_path / "volume")
    second = new("two")
    damaged = next(file for file in state.manifest.files if file.path == "p/nb/b")
    (tmp_path / "volume" / "buffers" / damaged.key).write_bytes(b"")
    second.surroundings.restore(state)
    second.prepare(files=files())
    assert (Path("a").read_text(), Path("b").exists()) == ("a", False)
    assert second.saved_files == {"p/nb/a"}


def test_a_lost_file_is_named(new: Callable[[str], Container], tmp_path: Path) -> None:
    first = new("one")
    first.prepare(files=files())
    Path("a").write_text("1")
    first.surroundings.written(0.0)
    state = first.save(tmp_path / "volume")
    shutil.rmtree(tmp_path / "volume" / "buffers")
    second = new("two")
    second.surroundings.restore(state)
    (line,) = second.heard
    assert line.startswith("The file `p/nb/a` is lost: ")


@pytest.mark.parametrize(
    "has, said", [({"one", "two"}, []), ({"one"}, ["could not install two:\npip ended with status 1"])]
)
def test_saved_packages_that_are_missing_are_installed(
    new: Callable[[str], Container], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: set[str], said: list[str]
) -> None:
    container = new("one")
    state = container.save(tmp_path / "volume")
    packed = SavedState(replace(state.manifest, packages=("one", "two")), state.read)
    installs._done.update(has)
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    container.surroundings.restore(packed)
    assert container.heard == said


def test_without_a_saved_state_nothing_is_restored(new: Callable[[str], Container]) -> None:
    container = new("one")
    container.surroundings.restore(None)
    assert (container.heard, container.saved_files) == ([], set())
