"""From the modules a cell imports to the distributions an image needs, pinned to the notebook's versions.

Pure: what is installed here comes in as values (`importlib.metadata.packages_distributions()`, and `.version`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

OWN = frozenset({"modal-gpu-magic", "modal"})
"""Distributions that an image gets anyway: our container code, and Modal's client, which Modal itself puts there."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """A distribution at a version, as pip is asked for it: `str(r)` is `pandas==2.2.1`.

    Attributes:
        name: the normalized name (PEP 503): lower case, single hyphens.
        version: the public version, without a build's own part (`2.13.0+cpu` here is `2.13.0` there: the index has no
            other, and a GPU image wants another build); None: any.
    """

    name: str
    version: str | None = None

    def __post_init__(self) -> None:
        """Refuse what pip would take for an option or a path.

        Raises:
            ValueError: `name` is no normalized name.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no normalized name of a distribution, like 'scikit-learn'.")

    def __str__(self) -> str:
        """The requirement as pip takes it."""
        return f"{self.name}=={self.version}" if self.version else self.name


def requirements(
    modules: Iterable[str], installed: Mapping[str, list[str]], versions: Callable[[str], str | None]
) -> tuple[Requirement, ...]:
    """What must be installed so that these modules can be imported, sorted by name.

    The standard library, this package and modules that no distribution installed here provides are left out. A module
    that several distributions share (`google`, `cv2`) brings all of them.

    Args:
        modules: top-level names, as `Names.imports` has them; the user's own modules left out.
        installed: module -> names of the distributions that provide it.
        versions: a distribution's version here; None if it has none.
    """
    from packaging.utils import canonicalize_name

    names = {
        distribution for module in modules if not _is_standard(module) for distribution in installed.get(module, ())
    }
    normal = {name: canonicalize_name(name) for name in names}
    found = {Requirement(normal[name], _public(versions(name))) for name in names if _NAME.fullmatch(normal[name])}
    return tuple(sorted((each for each in found if each.name not in OWN), key=str))


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None


def _is_standard(module: str) -> bool:
    return module in sys.stdlib_module_names
