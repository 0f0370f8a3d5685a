"""Small files of the notebook's project that travel with its cells: what the container has of them, and what it lacks.

Every file that was sent is looked at before each cell, as `session.project.modules` does: what was changed is sent
again, what was removed here is removed there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.session.project.root import Project
from modal_gpu_magic.wire.messages.events import ProjectFiles, SentFile

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_BYTES = 10_000_000
"""The largest file that travels by itself."""
LISTED_FILES = 1_000
"""How many files of the directories and patterns that a cell names travel with it."""
LISTED_BYTES = 50_000_000
"""How large they may be together."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What a cell names of the project's files.

    Attributes:
        files: their paths in the container's copy of the project. folders: directories of it.
        modules: modules that scripts of the cell import, and that are not among `files`.
        notes: what stays here, in sentences for the user.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


class Files:
    """What the session's container has of the project's files."""

    def __init__(self) -> None:
        self._project: Project | None = None
        self._here = self._here_place = ""
        self.entries: dict[str, None] = {}
        """Directories where cells have said that modules are looked for."""
        self._sent: dict[str, Stamp] = {}
        self._folders: set[str] = set()
        self._next: tuple[dict[str, Stamp], set[str]] = {}, set()

    @property
    def project(self) -> Project:
        """The project of the notebook: the one around the directory in which its kernel was first seen."""
        try:
            here = os.getcwd()  # noqa: PTH109 - a text, not a path
        except FileNotFoundError:  # the directory was removed
            return self._project or Project(os.sep)
        if self._project is None or here != self._here:
            if self._project is None or self._project.place(here) is None:
                self.forget()
                self._project = Project.around(here)
            self._here, self._here_place = here, self._project.place(here) or ""
        return self._project

    def place(self, path: str) -> str | None:
        """Where a path is in the container's copy of the project; None: it is outside."""
        return self.project.place(path)

    def outgoing(self, found: FoundFiles) -> ProjectFiles:
        """What must travel for a cell: its files and those sent before, as far as they are new or were changed."""
        project = self.project
        paths = {place: project.path(place) for place in (*self._sent, *found.files)}
        # As they are now: one that is written to while the cell runs must travel again.
        stamps = {place: stamp for place, path in paths.items() if (stamp := stamp_of(path)) is not None}
        contents = {
            place: sent
            for place, stamp in stamps.items()
            if self._sent.get(place) != stamp and (sent := _sent_file(paths[place], stamp)) is not None
        }
        gone = [place for place in self._sent if place not in stamps]
        lost = [folder for folder in self._folders if not os.path.isdir(project.path(folder))]  # noqa: PTH112
        folders = {*self._folders, *found.folders, *_above(stamps)} - set(lost)
        self._next = stamps, folders
        new = [folder for folder in found.folders if folder not in self._folders]
        return ProjectFiles(
            place=self._here_place,
            folders=tuple(new),
            contents=contents,
            gone=(*sorted(gone), *sorted(lost, reverse=True)),
        )

    def arrived(self, refused: Iterable[str] = ()) -> None:
        """The container has what `outgoing` last made, less files that a cell had changed there."""
        kept = set(refused)
        stamps, self._folders = self._next
        self._sent = {place: stamp for place, stamp in stamps.items() if place not in kept}

    def forget(self) -> None:
        """The container is gone."""
        self._sent, self._folders = {}, set()


def stamp_of(path: str) -> Stamp | None:
    """When a small file was changed, how large it is, and who may do what; None: it is no file, or too large."""
    try:
        facts = Path(path).stat()
        small = Path(path).is_file() and facts.st_size <= FILE_BYTES
    except (OSError, ValueError):
        return None
    return (facts.st_mtime_ns, facts.st_size, facts.st_mode) if small else None


def _sent_file(path: str, stamp: Stamp) -> SentFile | None:
    try:
        return SentFile(Path(path).read_bytes(), stamp[2] & 0o777, stamp[0])
    except OSError:  # removed meanwhile, or not ours to read
        return None


def _above(places: Iterable[str]) -> set[str]:
    """The directories that files are in, less the project's own."""
    return {str(folder) for place in places for folder in Path(place).parents[:-2]}
