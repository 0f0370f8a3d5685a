"""The project of a notebook: the directory whose small files may be sent with the notebook's cells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MARKS = (".git", "pyproject.toml")
"""Entries that mark the top directory of a project."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project. `root`: the real path of its top directory."""

    root: str

    @classmethod
    def around(cls, folder: str) -> Project:
        """The project of a notebook in `folder`: the nearest directory with one of MARKS, else the folder's parent."""
        start = Path(os.path.realpath(folder))
        for each in (start, *start.parents):
            if any((each / mark).exists() for mark in MARKS):
                return cls(str(each))
        return cls(str(start.parent))

    @property
    def name(self) -> str:
        """The directory name of the project's copy in a container."""
        return os.path.basename(self.root) or "root"  # noqa: PTH119 - `/` has no name

    def place(self, path: str) -> str | None:
        """Map a local path to its path in the copy, `project/data/x.csv`; None: the path is outside the project.

        A relative path starts at the working directory. A link that leads out of the project counts as outside.
        """
        try:
            whole = os.path.abspath(path)  # noqa: PTH100 - removes dots, does not follow links
            real = os.path.realpath(path)
        except (OSError, ValueError):  # a null byte
            return None
        if not (_is_below(whole, self.root) and _is_below(real, self.root)):
            return None
        if os.path.realpath(whole) != real:  # `link/..`: the copy has no equivalent path
            return None
        return os.path.normpath(os.path.join(self.name, os.path.relpath(whole, self.root)))  # noqa: PTH118

    def path(self, place: str) -> str:
        """Map a path of the copy to the local path."""
        return os.path.normpath(os.path.join(self.root, os.path.relpath(place, self.name)))  # noqa: PTH118


def _is_below(path: str, root: str) -> bool:
    return Path(path).is_relative_to(root)
