"""What may be said of a cell's own error beside it: a name or a file that exists here and was not sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.session.files import FILE_BYTES
from modal_gpu_magic.session.homes import homes

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOUNT = "put it on a Volume, `%modal_gpu put {path} NAME:/`, and mount that with --volume NAME:/path."


def hint(error: BaseException, namespace: Mapping[str, object], held: Mapping[str, str]) -> str | None:
    """One sentence with the way out, or None."""
    missing = re.search(r"name '(\w+)' is not defined", str(error)) if isinstance(error, NameError) else None
    if missing:
        name = missing[1]  # the error's own attribute is lost with its pickle before Python 3.12
        if name in held:
            return f"`{name}` was not sent: {held[name]}."
        if name in namespace:
            return f"`{name}` exists here, but the cell does not seem to read it: send it with --in {name}."
    if isinstance(error, ModuleNotFoundError) and error.name and homes(error.name.partition(".")[0]):
        module = error.name.partition(".")[0]
        return f"`{module}` is a module here that did not travel: `import {module}` in the cell's text brings it along."
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        return _file_hint(error.filename)
    return None


def _file_hint(path: str) -> str | None:
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):
        return None
    if Path(path).is_dir():
        return f"{path} is a folder here, and only files travel by themselves: {_MOUNT.format(path=path)}"
    if size > FILE_BYTES:
        return (
            f"{path} exists here ({size / 1e6:,.0f} MB), but only files up to {FILE_BYTES / 1e6:.0f} MB travel by "
            f"themselves: {_MOUNT.format(path=path)}"
        )
    return (
        f"{path} exists here; a cell that names it literally, by a path below the notebook's folder, brings it along."
    )
