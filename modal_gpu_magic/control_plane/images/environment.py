"""The notebook's Python environment, which stands for an image's packages, and directories of the user's own code."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[3]
"""Directory that contains this package."""

PYTHON_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def site_directories() -> list[str]:
    """Return the package directories of this interpreter."""
    return [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]


def installed(directory: str | Path) -> list[str]:
    """Return the names of the packages' metadata directories in a directory, which may be missing."""
    return [entry.name for entry in Path(directory).glob("*.dist-info")]


def own_directories() -> list[str]:
    """Return directories of the user's own code on the import path, as added by editable installs; images lack them."""
    standard = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
    return [entry for entry in sys.path if Path(entry).is_dir() and _is_own(Path(entry), standard)]


def _is_own(entry: Path, standard: set[Path]) -> bool:
    of_environment = any(part.endswith("-packages") for part in entry.parts) or installed(entry)
    return (
        entry.is_absolute() and entry != PACKAGE_ROOT and not of_environment and not standard & {entry, *entry.parents}
    )
