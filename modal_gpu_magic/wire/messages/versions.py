"""Versions of the packages whose objects are transferred, and the clause that reports a difference with its fix."""

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
"""Modules whose distribution has another name. Searching all distributions for a module takes 0.3 seconds."""


@dataclass(frozen=True, slots=True)
class Version:
    """A distribution in the notebook's kernel.

    Attributes:
        distribution: name of the distribution.
        number: version without the build part (`2.13.0` of `2.13.0+cpu`).
        pinnable: the container's image can install this version; false if the image's own packages need another one.
    """

    distribution: str
    number: str
    pinnable: bool = True

    def unlike(self, in_container: str) -> str:
        """Return the clause that reports another version in the container.

        Args:
            in_container: the container's version.
        """
        if self.pinnable:
            fix = f'to match the versions, run %modal_gpu stop, then use --pip "{self.distribution}=={self.number}"'
        else:
            fix = (
                f'to match the versions, run pip install "{self.distribution}=={in_container}" in the notebook, '
                "then restart the kernel"
            )
        return f"{self.distribution} is {self.number} in the notebook and {in_container} in the container: {fix}"


def installed(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions in this process of the modules' packages, by top-level name; unknown ones are left out."""
    found = {name: _version(distribution_of(name)) for name in sorted({each.partition(".")[0] for each in modules})}
    return {name: number for name, number in found.items() if number is not None}


def distribution_of(module: str) -> str:
    """Return the most likely distribution of a top-level module."""
    return _DISTRIBUTIONS.get(module, module)


def explained(why: str, unlike: Mapping[str, str]) -> str:
    """Append to a reason the version differences that may have caused it: of the modules it names, else all.

    Args:
        why: why a value could not be loaded.
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
