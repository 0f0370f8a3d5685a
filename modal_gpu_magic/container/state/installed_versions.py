"""Compare the notebook's package versions with the versions installed in the container."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.messages.versions import explained, installed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.wire.messages.versions import Version

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Minor version of this container's Python."""


class Versions:
    """The version differences found during the container's lifetime."""

    def __init__(self) -> None:
        self.unlike: dict[str, str] = {}
        """The clause that states the difference, by module."""

    def compare(self, notebook: Mapping[str, Version]) -> tuple[str, ...]:
        """Return one sentence per package with another version in the notebook. Each difference is reported once."""
        found = installed(notebook)
        new = {
            module: each.unlike(found[module])
            for module, each in notebook.items()
            if module in found and found[module] != each.number
        }
        self.unlike.update(new)
        return tuple(f"{clause}." for clause in new.values())

    def explain(self, failed: Mapping[str, str]) -> dict[str, str]:
        """Add the version differences that may be the cause to the reasons of values that could not be made."""
        return {name: explained(why, self.unlike) for name, why in failed.items()}

    @staticmethod
    def of(modules: Iterable[str]) -> dict[str, str]:
        """Return the installed versions of the packages whose objects the cell returns."""
        return installed(modules)
