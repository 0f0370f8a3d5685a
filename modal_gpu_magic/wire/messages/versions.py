"""Versions of the packages whose objects cross: each side knows its own; a difference is said with the way out."""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DISTRIBUTIONS = {
    "PIL": "pillow",
    "attr": "attrs",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
"""Modules that come in a distribution of another name. To look for any other takes a third of a second."""


@dataclass(frozen=True, slots=True)
class Version:
    """A distribution as the notebook has it.

    Attributes:
        distribution: its name. number: its version, less a build's own part (`2.13.0` of `2.13.0+cpu`).
        pinnable: the container's image takes it at that version; not where the image's own packages need another.
    """

    distribution: str
    number: str
    pinnable: bool = True

    def unlike(self, there: str) -> str:
        """The clause for a container that has another version."""
        if self.pinnable:
            cure = f'%modal_gpu stop, then --pip "{self.distribution}=={self.number}", makes both the same'
        else:
            cure = f'pip install "{self.distribution}=={there}" here, and a restart of the kernel, makes both the same'
        return f"{self.distribution} is {self.number} in the notebook and {there} in the container: {cure}"


def installed(modules: Iterable[str]) -> dict[str, str]:
    """The versions here of the packages that these modules are of, by top-level name; others are left out."""
    found = {name: _version(distribution_of(name)) for name in sorted({each.partition(".")[0] for each in modules})}
    return {name: number for name, number in found.items() if number is not None}


def distribution_of(module: str) -> str:
    """The distribution that a top-level module most likely comes in."""
    return _DISTRIBUTIONS.get(module, module)


def explained(why: str, unlike: Mapping[str, str]) -> str:
    """Why a value could not be made, and the versions that may be to blame: those it names, else all that differ.

    Args:
        why: the reason.
        unlike: by module, the clause of `Version.unlike`.
    """
    named = [clause for module, clause in unlike.items() if re.search(rf"\b{re.escape(module)}\b", why)]
    return "; ".join((why, *(named or unlike.values())))


@functools.cache
def _version(distribution: str) -> str | None:
    if distribution in sys.stdlib_module_names:
        return None
    try:
        return version(distribution).partition("+")[0]
    except (PackageNotFoundError, ValueError, KeyError, AttributeError):  # an empty name; metadata without a version
        return None
