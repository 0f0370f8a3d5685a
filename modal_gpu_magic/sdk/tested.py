"""The newest version of Modal's SDK that was tried, and the remark on a newer one."""

from __future__ import annotations

import functools
from typing import Final

from modal_gpu_magic.sdk.image import local_version

TESTED: Final = "1.6.4"
"""1.6.0 to 1.6.4 were tried. pyproject.toml allows the later versions of 1.6."""


@functools.cache
def newer_than_tested() -> str:
    """Return the remark on an SDK that is newer than the newest tested one; empty: it is not."""
    from packaging.version import InvalidVersion, Version

    installed = local_version("modal") or TESTED
    try:
        is_newer = Version(installed) > Version(TESTED)
    except InvalidVersion:
        is_newer = False
    if not is_newer:
        return ""
    return (
        f"modal {installed} is newer than modal {TESTED}, the newest that was tried; if a cell fails, install that one."
    )
