"""The directory that cells run in, inside the container's copy of the notebook's project. The copy is ours alone.

The working directory lies as deep below the copy's top as the kernel's below the project's, so that `../data/x.csv`
means the same file on both sides. A file that a cell has changed is never overwritten; a note in the
notebook names the file.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import shlex
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.messages.events import ProjectFiles, SentFile

PACKAGE = "modal_gpu_magic"
"""What Modal mounts of ours into the container's first directory."""
OURS = ".modal_gpu"
"""Our directory, below the one that the container starts in."""
FIRST_PLACE = "project/notebooks"
"""Where cells run that say no place: plain Python's."""
LOCAL_VOLUMES = "MODAL_GPU_VOLUMES"
"""The local control plane's variable with the real directory of each mount."""
LARGEST = 64_000_000
"""Bytes. A larger file is not compared: nothing that large was sent, so a cell wrote it."""


class Workdir:
    """The container's copy of the project, and the place in it where cells run.

    Args:
        home: the directory that the container starts in.

    Attributes:
        path: where cells run; a cell may have left it. notes: sentences for the notebook about files that were kept.
        refused: these files, as the notebook names them.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.notes: list[str] = []
        self.refused: list[str] = []
        self._place = ""
        self._sent: dict[str, bytes] = {}

    @functools.cached_property
    def tree(self) -> Path:
        """The copy of the project."""
        return self._base / "files"

    @property
    def modules(self) -> Path:
        """For modules that are outside the project."""
        return self._base / "modules"

    @functools.cached_property
    def _base(self) -> Path:
        return _own_directory(self.home)

    @property
    def path(self) -> Path:
        """The directory that cells run in."""
        return self.tree / self._place

    def enter(self, place: str) -> None:
        """Go where the notebook's kernel is, unless it is where it was: a cell may have gone on from there.

        What the image or a Volume has in the container's first directory is linked.
        """
        place = place or self._place or FIRST_PLACE
        target = self._inside(place) if place != self._place else None
        if target is None:
            return
        target.mkdir(parents=True, exist_ok=True)
        for entry in _of_the_user(self.home):
            with suppress(OSError):  # something of that name is there
                (target / entry.name).symlink_to(entry.path)
        if not self._place:
            _settle_path(self.home)
        os.chdir(target)
        self._place = place

    def take(self, files: ProjectFiles) -> list[str]:
        """Take in what was sent, and go where the kernel is; returns the files that are there as they were sent."""
        self.enter(files.place)
        for path in files.gone:
            self.remove(path)
        for folder in files.folders:
            target = self._inside(folder)
            if target is not None:
                with suppress(OSError):  # a cell made a file of that name
                    target.mkdir(parents=True, exist_ok=True)
        for path, file in files.contents.items():
            self.write(path, file)
        return [path for path in files.contents if path not in self.refused]

    def write(self, path: str, file: SentFile) -> bool:
        """Write a file, unless a cell has changed the one that is there. False: it is there as it is, or was kept."""
        target, digest = self._inside(path), _digest(file.content)
        there = None if target is None else _state(target)
        if target is None or (there not in (None, digest, self._sent.get(path))):
            self._keep(path)
            return False
        self._sent[path] = digest
        if there != digest:
            try:
                _write(target, file)
            except OSError:  # a cell made a file where a directory is to be
                self._keep(path)
                return False
        if file.changed:
            os.utime(target, ns=(file.changed, file.changed))
        return there != digest

    def remove(self, path: str) -> None:
        """Remove a file that was sent and is not here any more, or a directory that is empty."""
        target, sent = self._inside(path), self._sent.pop(path, None)
        there = None if target is None else _state(target)
        if target is None or there is None:
            return
        if sent is None:
            with suppress(OSError):  # it is not empty, or no directory: a cell's
                target.rmdir()
        elif there == sent:
            forget_compiled(target)
            target.unlink()
        else:
            self._keep(path)

    def name(self, path: str) -> str:
        """A path of the project as the notebook names it."""
        return os.path.relpath(self.tree / path, self.path)

    def take_notes(self) -> tuple[list[str], tuple[str, ...]]:
        """The sentences, and the files they are about; empty from then on."""
        notes, refused = self.notes, tuple(self.refused)
        self.notes, self.refused = [], []
        return notes, refused

    def _keep(self, path: str) -> None:
        if path in self.refused:
            return
        name = self.name(path)
        self.refused.append(path)
        self.notes.append(
            f"`{name}` was changed by a cell there and is another file here: the container's is kept. Fetch that one: "
            f"%modal_gpu get {shlex.quote(f'session:{name}')} . "
            f"Send this one: os.remove({name!r}) in a remote cell, then run this cell again."
        )

    def _inside(self, path: str) -> Path | None:
        """Where a path is in the copy; None: it would lead out of it, by dots or by a link."""
        target = self.tree / path
        folder = os.path.realpath(target.parent)
        inside = Path(folder).is_relative_to(os.path.realpath(self.tree))
        return target if inside and ".." not in Path(path).parts else None


def forget_compiled(path: Path) -> None:
    """Python takes a compiled file for the source's if size and second are the same: an edit may be that quick."""
    if path.suffix == ".py":
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _write(target: Path, file: SentFile) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name[:80]}.half")
    half.write_bytes(file.content)
    half.chmod(file.mode & 0o777 | 0o600)
    half.replace(target)  # a child process may be reading it right now
    forget_compiled(target)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _state(target: Path) -> bytes | None:
    """The digest of a file; empty: something else, which only a cell can have made; None: nothing is there."""
    if not os.path.lexists(target):
        return None
    try:
        if target.is_symlink() or not target.is_file() or target.stat().st_size > LARGEST:
            return b""
        return _digest(target.read_bytes())
    except OSError:
        return b""


def _own_directory(home: Path) -> Path:
    """Our directory in the container; in the temporary one, if the first may not be written to."""
    own = home / OURS
    try:
        own.mkdir(exist_ok=True)
    except OSError:
        own = Path(tempfile.mkdtemp(prefix="modal_gpu-"))
    return own.resolve()


def _of_the_user(home: Path) -> Iterator[os.DirEntry[str]]:
    """What the container's first directory has of the image's and of Volumes: not this package, nothing hidden."""
    elsewhere = {PACKAGE, *_tops_of_volumes()}
    with suppress(OSError), os.scandir(home) as entries:
        for entry in entries:
            if entry.name[0] != "." and entry.name not in elsewhere:
                yield entry


def _tops_of_volumes() -> set[str]:
    """First parts of the local Volumes' paths that lead to them: the container's directory has a second way to each."""
    mounts: dict[str, str] = json.loads(os.environ.get(LOCAL_VOLUMES, "{}"))
    return {Path(path).parts[1] for path in mounts if Path(path).is_dir() and not path.startswith("/root/")}


def _settle_path(home: Path) -> None:
    """Keep the modules of the first directory found, this package among them; and find those of the working directory.

    IPython puts the working directory behind the standard library, too.
    """
    sys.path[:] = [entry or str(home) for entry in sys.path]
    package = str(Path(__file__).resolve().parents[3])
    if package not in map(os.path.realpath, sys.path):
        sys.path.append(package)
    first_site = next((n for n, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))
    sys.path.insert(first_site, "")
