"""Map the modules that a cell imports to distributions, pinned to the notebook's versions.

Pure: the installed packages are arguments (`importlib.metadata.packages_distributions()`, and `.version`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OWN = frozenset({"modal-gpu-magic", "modal"})
"""Distributions that every image has: this package's container code, and Modal's client, which Modal adds."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """A requirement for pip: `str(r)` is `pandas==2.2.1`.

    Attributes:
        name: the normalized name (PEP 503): lower case, single hyphens.
        version: the public version without the build part (`2.13.0` for `2.13.0+cpu`, because the index has no other,
            and a GPU image needs another build); None: any version.
    """

    name: str
    version: str | None = None

    def __post_init__(self) -> None:
        """Check the name, because pip would read another string as an option or a path.

        Raises:
            ValueError: `name` is no normalized name.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no normalized name of a distribution, like 'scikit-learn'.")

    def __str__(self) -> str:
        """Return the requirement in pip's syntax."""
        return f"{self.name}=={self.version}" if self.version else self.name


def requirements(
    modules: Iterable[str], installed: Mapping[str, list[str]], versions: Callable[[str], str | None]
) -> tuple[Requirement, ...]:
    """Return the distributions that provide modules, sorted by name.

    Without the standard library, this package, and modules of no installed distribution. For a module of several
    distributions (`google`, `cv2`) all of them are returned.

    Args:
        modules: top-level names, as in `Names.imports`, without the user's own modules.
        installed: by module, the names of the distributions that provide it.
        versions: returns the kernel's version of a distribution; None: no version.
    """
    from packaging.utils import canonicalize_name

    names = {
        distribution for module in modules if not is_standard(module) for distribution in installed.get(module, ())
    }
    normal = {name: canonicalize_name(name) for name in names}
    found = {Requirement(normal[name], _public(versions(name))) for name in names if _NAME.fullmatch(normal[name])}
    return tuple(sorted((each for each in found if each.name not in OWN), key=str))


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None


def is_standard(module: str) -> bool:
    """Whether a top-level module belongs to Python's standard library."""
    return module in sys.stdlib_module_names
