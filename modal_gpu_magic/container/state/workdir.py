"""The working directory of cells, inside the container's own copy of the notebook's project.

The working directory has the same depth below the copy's top as the kernel's directory below the project, so that
`../data/x.csv` means the same file on both sides. A file that a cell has changed is never overwritten; a note in the
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
from os import getcwd  # by name: a cell may replace the function
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.messages.events import ProjectFiles, SentFile

PACKAGE = "modal_gpu_magic"
"""Name of this package, which Modal mounts into the container's start directory."""
PRIVATE_DIRECTORY = ".modal_gpu"
"""Name of this package's directory for project files and modules, below the container's start directory."""
FIRST_PLACE = "project/notebooks"
"""Directory of cells whose request names none: of plain Python."""
LOCAL_VOLUMES = "MODAL_GPU_VOLUMES"
"""Variable of the local control plane: maps each mount path to its real directory."""
LARGEST_COMPARED_BYTES = 64_000_000
"""A larger file is not compared: no file of that size was sent, so a cell wrote it."""


class Workdir:
    """The container's copy of the project, and the directory in which cells run.

    Args:
        start_directory: the container's start directory.

    Attributes:
        start_directory: the container's start directory.
        notes: sentences for the notebook about files that were not overwritten.
        refused: these files, as the notebook names them.
    """

    def __init__(self, start_directory: Path) -> None:
        self.start_directory = start_directory
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
        """The directory for modules outside the project."""
        return self._base / "modules"

    @functools.cached_property
    def _base(self) -> Path:
        return _own_directory(self.start_directory)

    @property
    def place(self) -> str:
        """The directory in which cells run, below the copy of the project; empty: no cell has run."""
        return self._place

    @property
    def path(self) -> Path:
        """The directory in which cells run; a cell may have changed to another one."""
        return self.tree / self._place

    def enter(self, place: str, followed: str = "") -> None:
        """Change to the directory of the notebook's kernel, if the kernel has changed directory since the last cell.

        A kernel that has followed a cell into its directory (`followed`) has changed directory, too, if it is in
        another one now. A new container has no such cell.

        Entries that the image or a Volume added to the container's start directory are linked into the new directory.
        """
        if self._place and followed:
            self._place = followed
        place = place or self._place or FIRST_PLACE
        target = self._inside(place) if place != self._place else None
        if target is None:
            return
        target.mkdir(parents=True, exist_ok=True)
        for entry in _of_the_user(self.start_directory):
            with suppress(OSError):  # the name exists
                (target / entry.name).symlink_to(entry.path)
        if not self._place:
            _set_import_path(self.start_directory)
        os.chdir(target)
        self._place = place

    def take(self, files: ProjectFiles) -> list[str]:
        """Write the files sent and change directory; return the files that now have the content sent."""
        self.enter(files.place, files.followed)
        for path in files.gone:
            self.remove(path)
        for folder in files.folders:
            target = self._inside(folder)
            if target is not None:
                with suppress(OSError):  # a cell made a file of this name
                    target.mkdir(parents=True, exist_ok=True)
        for path, file in files.contents.items():
            self.write(path, file)
        return [path for path in files.contents if path not in self.refused]

    def write(self, path: str, file: SentFile) -> bool:
        """Write a file unless a cell has changed it. False: the file already has this content, or was not written."""
        target, digest = self._inside(path), _digest(file.content)
        found = None if target is None else _state(target)
        if target is None or (found not in (None, digest, self._sent.get(path))):
            self._keep(path)
            return False
        self._sent[path] = digest
        if found != digest:
            try:
                _write(target, file)
            except OSError:  # a cell made a file in place of a directory
                self._keep(path)
                return False
        if file.changed:
            os.utime(target, ns=(file.changed, file.changed))
        return found != digest

    def remove(self, path: str) -> None:
        """Remove a file that the notebook no longer has, or an empty directory."""
        target, sent = self._inside(path), self._sent.pop(path, None)
        found = None if target is None else _state(target)
        if target is None or found is None:
            return
        if sent is None:
            with suppress(OSError):  # not empty, or a cell's file
                target.rmdir()
        elif found == sent:
            forget_compiled(target)
            target.unlink()
        else:
            self._keep(path)

    def changed_to(self, before: str) -> str:
        """Return the working directory as `Answer.directory` has it; empty: it still is `before`."""
        now = working_directory()
        if now in ("", before):
            return ""
        tree = os.path.realpath(self.tree)
        return os.path.relpath(now, tree) if Path(now).is_relative_to(tree) else now

    def name(self, path: str) -> str:
        """Return a path of the project relative to the working directory."""
        return os.path.relpath(self.tree / path, self.path)

    def take_notes(self) -> tuple[list[str], tuple[str, ...]]:
        """Return and clear the notes and the files that they name."""
        notes, refused = self.notes, tuple(self.refused)
        self.notes, self.refused = [], []
        return notes, refused

    def _keep(self, path: str) -> None:
        if path in self.refused:
            return
        name = self.name(path)
        self.refused.append(path)
        self.notes.append(
            f"A cell changed `{name}` in the container, and the notebook's file differs: the container's file is kept. "
            f"Fetch the container's file: %modal_gpu get {shlex.quote(f'session:{name}')} . "
            f"Send the notebook's file: run os.remove({name!r}) in a remote cell, then run this cell again."
        )

    def _inside(self, path: str) -> Path | None:
        """Where a path is in the copy; None: it would lead out of it, by dots or by a link."""
        target = self.tree / path
        folder = os.path.realpath(target.parent)
        inside = Path(folder).is_relative_to(os.path.realpath(self.tree))
        return target if inside and ".." not in Path(path).parts else None


def working_directory() -> str:
    """Return the working directory of this process; empty: it was removed."""
    try:
        return getcwd()  # noqa: PTH109 - a text, as `Answer.directory` is
    except OSError:
        return ""


def forget_compiled(path: Path) -> None:
    """Delete a module's compiled file: Python would use a stale one if an edit keeps the size and the second."""
    if path.suffix == ".py":
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _write(target: Path, file: SentFile) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name[:80]}.half")
    half.write_bytes(file.content)
    half.chmod(file.mode & 0o777 | 0o600)
    half.replace(target)  # atomic: a child process may read the file at this moment
    forget_compiled(target)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _state(target: Path) -> bytes | None:
    """Return a file's digest; empty: not a file that the notebook sent; None: the path does not exist."""
    if not os.path.lexists(target):
        return None
    try:
        if target.is_symlink() or not target.is_file() or target.stat().st_size > LARGEST_COMPARED_BYTES:
            return b""
        return _digest(target.read_bytes())
    except OSError:
        return b""


def _own_directory(start_directory: Path) -> Path:
    """Return this package's directory: in the start directory, or in a temporary one if that is not writable."""
    own = start_directory / PRIVATE_DIRECTORY
    try:
        own.mkdir(exist_ok=True)
    except OSError:
        own = Path(tempfile.mkdtemp(prefix="modal_gpu-"))
    return own.resolve()


def _of_the_user(start_directory: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the entries that the image and Volumes added to the start directory, without hidden ones."""
    excluded = {PACKAGE, *_tops_of_volumes()}
    with suppress(OSError), os.scandir(start_directory) as entries:
        for entry in entries:
            if entry.name[0] != "." and entry.name not in excluded:
                yield entry


def _tops_of_volumes() -> set[str]:
    """Return the top folders of the local Volumes' mount paths: each Volume is reachable by its real path as well."""
    mounts: dict[str, str] = json.loads(os.environ.get(LOCAL_VOLUMES, "{}"))
    return {Path(path).parts[1] for path in mounts if Path(path).is_dir() and not path.startswith("/root/")}


def _set_import_path(start_directory: Path) -> None:
    """Keep the start directory's modules importable, this package among them, and add the working directory.

    As in IPython, the working directory follows the standard library.
    """
    sys.path[:] = [entry or str(start_directory) for entry in sys.path]
    package = str(Path(__file__).resolve().parents[3])
    if package not in map(os.path.realpath, sys.path):
        sys.path.append(package)
    first_site = next((n for n, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))
    sys.path.insert(first_site, "")
