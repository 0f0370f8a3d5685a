"""The notebook's Python environment, which stands for an image's packages: its directories, and the user's own."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

OURS = Path(__file__).parents[3]
"""Where this package lies."""

PYTHON_NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def site_directories() -> list[str]:
    """Where this interpreter's packages are: the environment of the notebook, which stands for the image's."""
    return [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]


def installed(directory: str | Path) -> list[str]:
    """The metadata directories of the packages in a directory, which may be missing."""
    return [entry.name for entry in Path(directory).glob("*.dist-info")]


def own_directories() -> list[str]:
    """Directories of the user's own code on the import path, as editable installs put them there: no image has them."""
    standard = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
    return [entry for entry in sys.path if Path(entry).is_dir() and _is_own(Path(entry), standard)]


def _is_own(entry: Path, standard: set[Path]) -> bool:
    of_environment = any(part.endswith("-packages") for part in entry.parts) or installed(entry)
    return entry.is_absolute() and entry != OURS and not of_environment and not standard & {entry, *entry.parents}
