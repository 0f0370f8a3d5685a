"""Map the modules that a cell imports to distributions, pinned to the notebook's versions.

Pure: the installed packages are arguments (`importlib.metadata.packages_distributions()`, `.version`, and origins).
A package that was not installed from an index is never asked from one: a stranger may own the name there.
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

_NOT_FOR_IMAGES = re.compile(
    r"pywin32(-ctypes)?|pywinpty|wmi|comtypes|winsdk|pyobjc(-.*)?|appnope|jax-metal|mlx-metal"
    r"|tensorflow-(macos|metal|intel|directml.*)|torch-directml"
    r"|conda|conda-build|conda-index|conda-libmamba-solver|libmambapy|mamba|menuinst|anaconda-.*|navigator-updater"
)
"""Distributions that no index has for Linux, or at all: they are of Windows, macOS or conda."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a distribution was installed from (PEP 610). Without both: from an index.

    Attributes:
        url: requirement address of a commit or an archive that a container can reach.
        is_local: whether it was installed from a file or a directory of this machine, or by a key of this user.
        place: that directory, file or address, for messages.
    """

    url: str | None = None
    is_local: bool = False
    place: str = ""


INDEX = Origin()


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """A requirement for pip: `str(r)` is `pandas==2.2.1`.

    Attributes:
        name: the normalized name (PEP 503): lower case, single hyphens.
        version: the public version without the build part (`2.13.0` for `2.13.0+cpu`, because the index has no other,
            and a GPU image needs another build); None: any version.
        url: address of the package, if an index does not have it: of an archive, or of a commit.
    """

    name: str
    version: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        """Check the name, because pip would read another string as an option or a path.

        Raises:
            ValueError: `name` is no normalized name.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no normalized name of a distribution, like 'scikit-learn'.")

    def __str__(self) -> str:
        """Return the requirement in pip's syntax."""
        if self.url:
            return f"{self.name} @ {self.url}"
        return f"{self.name}=={self.version}" if self.version else self.name


def requirements(
    modules: Iterable[str],
    installed: Mapping[str, list[str]],
    versions: Callable[[str], str | None],
    origins: Callable[[str], Origin] = lambda _: INDEX,
) -> tuple[Requirement, ...]:
    """Return the distributions that provide modules, sorted by name.

    Without the standard library, this package, and modules of no installed distribution. For a module of several
    distributions (`google`, `cv2`) all of them are returned.

    Args:
        modules: top-level names, as in `Names.imports`, without the user's own modules.
        installed: by module, the names of the distributions that provide it.
        versions: returns the kernel's version of a distribution; None: no version.
        origins: returns where a distribution was installed from.
    """
    names = {
        distribution for module in modules if not is_standard(module) for distribution in installed.get(module, ())
    }
    found = {required for name in names if (required := requirement(name, versions(name), origins(name)))}
    return tuple(sorted(found, key=str))


def requirement(name: str, version: str | None, origin: Origin = INDEX) -> Requirement | None:
    """Return what an image on Linux asks of an installed distribution; None: nothing.

    Args:
        name: the distribution's name.
        version: the installed version; None: not known.
        origin: where the distribution was installed from.
    """
    from packaging.utils import canonicalize_name

    normal = canonicalize_name(name)
    if not _NAME.fullmatch(normal) or normal in OWN or origin.is_local or _NOT_FOR_IMAGES.fullmatch(normal):
        return None
    return Requirement(normal, url=origin.url) if origin.url else Requirement(normal, asked_version(version))


def asked_version(version: str | None) -> str | None:
    """Return the version that an index has for an installed one; None: any.

    A build part (`+cu128`) exists on no public index. A development release (`2.14.0.dev20260101`) is on an index of
    its own. A text that is no version (PEP 440) cannot be asked.
    """
    from packaging.version import InvalidVersion, Version

    try:
        is_of_an_index = not Version(version or "").is_devrelease
    except InvalidVersion:
        return None
    return _public(version) if is_of_an_index else None


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version else None


def is_standard(module: str) -> bool:
    """Whether a top-level module belongs to Python's standard library."""
    return module in sys.stdlib_module_names
