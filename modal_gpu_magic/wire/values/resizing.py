"""Which arrays a cell may resize, by its text: numpy resizes none that anything but a name refers to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def resizes(source: str) -> bool:
    """Whether a cell may resize an array in place."""
    return ".resize(" in source


def named_in(source: str, namespace: Mapping[str, Any]) -> list[Any]:
    """Return the values of the names in a cell's text."""
    return [namespace[name] for name in set(re.findall(r"[^\W\d]\w*", source)) if name in namespace]
