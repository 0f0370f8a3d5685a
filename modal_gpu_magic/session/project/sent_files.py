"""Send small files of the notebook's project with its cells, and keep them up to date in the container.

Before each cell, as in `session.project.modules`, changed files are sent again, and files that were removed locally are
removed in the container.
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
"""Maximum size of a file that is sent automatically, bytes."""
LISTED_FILES = 1_000
"""Maximum number of files sent for the directories and patterns that a cell names."""
LISTED_BYTES = 50_000_000
"""Maximum total size of these files, bytes."""
KNOWN_FILES = 10_000
"""Maximum number of files that cells wrote and whose paths are known."""

STAYS = (
    "The cell changed to the directory `{}` of the container: later remote cells run there, "
    "and the notebook stays in its own directory."
)
"""Said of a directory that the notebook's machine does not have, or that may be another one there."""

Stamp = tuple[int, int, int]
"""Modification time in nanoseconds, size in bytes, and mode of a file."""
_NEVER: Stamp = (0, -1, 0)
"""The stamp of no file."""


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The project's files that a cell names.

    Attributes:
        files: paths of the files in the container's copy of the project.
        folders: paths of the directories in the copy.
        modules: modules that the cell's scripts import and that are not among `files`.
        notes: sentences for the user about files that are not sent.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    modules: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


class Files:
    """Tracks the project's files in the session's container."""

    def __init__(self) -> None:
        self._project: Project | None = None
        self._cwd = self._cwd_place = ""
        self.entries: dict[str, None] = {}
        """Directories that cells have added to the import path."""
        self._sent: dict[str, Stamp] = {}
        self._folders: set[str] = set()
        self._again: frozenset[str] = frozenset()
        """Folders to send again."""
        self._sent_from = self._followed = ""
        self._notes: list[str] = []
        self._next: tuple[dict[str, Stamp], set[str]] = {}, set()
        self._written: dict[str, str] = {}
        """Files that cells wrote in the container: the path that each would have locally, and the container's path."""

    @property
    def project(self) -> Project:
        """The project around the kernel's working directory; it changes only when the kernel leaves the project."""
        try:
            cwd = os.getcwd()  # noqa: PTH109 - a text, not a path
        except FileNotFoundError:  # the directory was removed
            return self._project or Project(os.sep)
        if self._project is None or cwd != self._cwd:
            if self._project is None or self._project.place(cwd) is None:
                self.forget()
                self._project = Project.around(cwd)
            self._cwd, self._cwd_place = cwd, self._project.place(cwd) or ""
        return self._project

    def place(self, path: str) -> str | None:
        """Map a local path to its path in the container's copy of the project; None: the path is outside."""
        return self.project.place(path)

    def outgoing(self, found: FoundFiles) -> ProjectFiles:
        """The files to send for a cell: new or changed ones among its files and those sent before."""
        project = self.project
        paths = {place: project.path(place) for place in (*self._sent, *found.files)}
        # Read before the content: a file that is written while the cell runs must be sent again.
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
        self._sent_from = self._cwd
        new = [folder for folder in found.folders if folder not in self._folders]
        new += sorted(self._again.difference(new, lost))
        return ProjectFiles(
            place=self._cwd_place,
            folders=tuple(new),
            contents=contents,
            gone=(*sorted(gone), *sorted(lost, reverse=True)),
            followed=self._followed,
        )

    def follow(self, directory: str) -> None:
        """Change to the directory to which a cell has changed, as that cell would have done here.

        A notebook that has gone on beside the cell, and has changed its directory since, stays where it is.

        Args:
            directory: the directory, in the form of `Answer.directory`.
        """
        self._followed = ""
        project = self._project
        if not directory or project is None or _working_directory() != self._sent_from:
            return
        if directory == self._cwd_place:  # a cell came back from a directory that only the container has
            return
        if directory.startswith("/"):
            self._notes.append(STAYS.format(directory))
            return
        try:
            os.chdir(project.path(directory))
        except OSError:
            self._notes.append(STAYS.format(os.path.relpath(directory, self._cwd_place)))
        else:
            self._followed = directory

    def note_written(self, paths: Iterable[str]) -> None:
        """Record files that the last cell wrote, by their paths from the directory in which the cell began."""
        for path in paths:
            self._written[os.path.normpath(Path(self._sent_from, path))] = path
        while len(self._written) > KNOWN_FILES:
            del self._written[next(iter(self._written))]

    def written_as(self, path: str) -> str | None:
        """Return the container's path of a file that a cell wrote, or of a folder of such files; None: neither.

        Args:
            path: where the file would be on the notebook's machine.
        """
        cwd = _working_directory()
        local = os.path.normpath(Path(cwd, path))
        if local in self._written:
            return self._written[local]
        within = next((each for each in self._written if each.startswith(local + os.sep)), None)
        if within is None or local == cwd:
            return None
        above, folders = Path(within).relative_to(local).parts, Path(self._written[within]).parents
        return str(folders[len(above) - 1]) if len(above) < len(folders) else None

    def take_notes(self) -> list[str]:
        """Return and clear the sentences about directories that the notebook does not have."""
        notes, self._notes = self._notes, []
        return notes

    def arrived(self, refused: Iterable[str] = ()) -> None:
        """Record that the container has the last sent files, except `refused` ones, which a cell had changed."""
        kept = set(refused)
        stamps, self._folders = self._next
        self._again = frozenset()
        self._sent = {place: stamp for place, stamp in stamps.items() if place not in kept}

    def resend(self) -> None:
        """Send all files again with the next cell: another container goes on with the values."""
        self._sent = dict.fromkeys(self._sent, _NEVER)
        self._again = frozenset(self._folders)

    def forget(self) -> None:
        """Discard the state of an ended container."""
        self._sent, self._folders = {}, set()
        self._written.clear()


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a text, as `Files` compares it
    except OSError:  # the directory was removed
        return ""


def stamp_of(path: str) -> Stamp | None:
    """The stamp of a file; None: the path is not a file, or the file is too large."""
    try:
        facts = Path(path).stat()
        small = Path(path).is_file() and facts.st_size <= FILE_BYTES
    except (OSError, ValueError):
        return None
    return (facts.st_mtime_ns, facts.st_size, facts.st_mode) if small else None


def _sent_file(path: str, stamp: Stamp) -> SentFile | None:
    try:
        return SentFile(Path(path).read_bytes(), stamp[2] & 0o777, stamp[0])
    except OSError:  # removed, or not readable
        return None


def _above(places: Iterable[str]) -> set[str]:
    """The directories above files, without the project's top directory."""
    return {str(folder) for place in places for folder in Path(place).parents[:-2]}
