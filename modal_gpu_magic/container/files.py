"""Files of the notebook's that came with a cell: written into the container's own working directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write(files: Mapping[str, bytes], root: Path) -> None:
    """Write files by their paths below `root`; a path that leads out of it is left out."""
    for path, content in files.items():
        target = (root / path).resolve()
        if target.is_relative_to(root.resolve()):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
