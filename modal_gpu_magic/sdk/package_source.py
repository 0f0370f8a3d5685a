"""The files of this package that travel to the container, as mounts of an image."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

import modal

PACKAGE: Final = Path(__file__).parents[1]
BATCH: Final = 64
"""Most files whose existence Modal's SDK 1.6 checks in one request; a mount's requests follow one another."""
CONTAINER_FLOORS: Final = ("container", "metrics", "wire")
CONTAINER_FILES: Final = (
    *("__init__.py", "_version.py", "alarms.py", "errors.py"),
    *("catalog/__init__.py", "catalog/limits.py"),
    *("sdk/__init__.py", "sdk/entry.py", "sdk/modal_cluster.py", "sdk/nodes.py", "sdk/stubs.py"),
)


def add_to(image: modal.Image) -> modal.Image:
    """Return the image with the files that the container imports as its last layers."""
    for files in batches(container_files()):
        image = image.add_local_python_source("modal_gpu_magic", ignore=Others(files))
    return image


def container_files() -> list[str]:
    """Return the paths of the files of this package that the container imports: three floors and CONTAINER_FILES."""
    floors = (path for floor in CONTAINER_FLOORS for path in (PACKAGE / floor).rglob("*.py"))
    return sorted({*CONTAINER_FILES, *(path.relative_to(PACKAGE).as_posix() for path in floors)})


def batches(files: list[str]) -> list[frozenset[str]]:
    """Divide files into mounts of BATCH: Modal's SDK checks the files of one mount batch by batch, mounts at once."""
    return [frozenset(files[first : first + BATCH]) for first in range(0, len(files), BATCH)]


class Others(modal.FilePatternMatcher):
    """Matches what is not to travel: all files but some, and directories without any of these.

    The SDK lists each mount twice when an App opens, and does not list a directory that a prunable matcher matches.
    """

    def __init__(self, files: frozenset[str]) -> None:
        super().__init__()
        directories = {str(parent) for file in files for parent in PurePosixPath(file).parents}
        self._travelling = files | directories

    def can_prune_directories(self) -> bool:
        """Directories that match hold no file that travels."""
        return True

    def __call__(self, path: Path) -> bool:
        """Whether a path, absolute or relative to this package, is not to travel."""
        relative = path.relative_to(PACKAGE) if path.is_absolute() and path.is_relative_to(PACKAGE) else path
        return relative.as_posix() not in self._travelling
