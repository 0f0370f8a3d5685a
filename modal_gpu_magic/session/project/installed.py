"""The distributions installed in the kernel, by the modules that they provide."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def distributions() -> Mapping[str, list[str]]:
    """Return the installed distributions by top-level module.

    A quarter of a second for some hundred distributions, so the result is kept until a folder of the import path
    changes: an installation, in this process or another, adds or replaces a folder `NAME-VERSION.dist-info`.
    """
    return _read(stamps())


def stamps() -> tuple[tuple[str, int], ...]:
    """Return the folders of the import path, each with the time of its last change in nanoseconds; 0: no folder."""
    return tuple((path, _changed_at(path)) for path in sys.path)


@lru_cache(maxsize=1)
def _read(folders: tuple[tuple[str, int], ...]) -> Mapping[str, list[str]]:  # noqa: ARG001 - the key of the cache
    from importlib.metadata import packages_distributions

    return packages_distributions()


def _changed_at(path: str) -> int:
    try:
        return os.stat(path or ".").st_mtime_ns  # noqa: PTH116 - once a folder and cell; a Path takes ten times as long
    except OSError:
        return 0
