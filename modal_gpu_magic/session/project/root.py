"""The project that a notebook belongs to: the part of this machine whose small files may travel with its cells."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MARKS = (".git", "pyproject.toml")
"""What the top directory of a project has."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project by its top directory, `root`: a real path, no link."""

    root: str

    @classmethod
    def around(cls, folder: str) -> Project:
        """The project of a notebook in `folder`: the nearest directory with a mark, else the folder's parent."""
        start = Path(os.path.realpath(folder))
        for each in (start, *start.parents):
            if any((each / mark).exists() for mark in MARKS):
                return cls(str(each))
        return cls(str(start.parent))

    @property
    def name(self) -> str:
        """What its copy in a container is called."""
        return os.path.basename(self.root) or "root"  # noqa: PTH119 - of `/` there is none

    def place(self, path: str) -> str | None:
        """Where a path of this machine is in the copy: `project/data/x.csv`; None: it is not in the project.

        A relative path counts from the working directory. A link that leads out of the project does, too.
        """
        try:
            whole = os.path.abspath(path)  # noqa: PTH100 - dots are taken out, links are not followed
            real = os.path.realpath(path)
        except (OSError, ValueError):  # a null byte
            return None
        if not (_is_below(whole, self.root) and _is_below(real, self.root)):
            return None
        if os.path.realpath(whole) != real:  # `link/..`: no path of the copy means the same
            return None
        return os.path.normpath(os.path.join(self.name, os.path.relpath(whole, self.root)))  # noqa: PTH118

    def path(self, place: str) -> str:
        """Where a path of the copy is on this machine."""
        return os.path.normpath(os.path.join(self.root, os.path.relpath(place, self.name)))  # noqa: PTH118


def _is_below(path: str, root: str) -> bool:
    return Path(path).is_relative_to(root)
