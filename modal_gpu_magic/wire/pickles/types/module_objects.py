"""Pickle objects that a module of the user has made of its own classes: `cfg = Config()`.

Between the two sides of a session they go by content, and each side keeps its own object
(`wire.inspection.own_modules`). Elsewhere they go by name, so that they are the objects which the receiver's module
has, unless they have changed.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.changed_globals import is_changed
from modal_gpu_magic.wire.values.kinds import module_of
from modal_gpu_magic.wire.values.library_modules import is_own

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modal_gpu_magic.wire.pickles.protocol import Pickler

_tried: Final[set[int]] = set()
"""`id` of the objects that are being tried: they may refer to themselves."""
_by_content: Final[set[int]] = set()
"""`id` of the objects that go by content in any case."""


def is_of_user(kind: type) -> bool:
    """Whether a class belongs to a module of the user."""
    return is_own(sys.modules.get(module_of(kind)))


def reduce_module_object(pickler: Pickler, value: Any, names: Mapping[int, str]) -> Any:
    """Return an object's name in its module; NotImplemented: the object goes by content.

    Args:
        pickler: the pickler.
        value: the object.
        names: the names of the module's objects, by their `id`.
    """
    name = names.get(id(value))
    if name is None or id(value) in _by_content:
        return NotImplemented
    goes_by_content = (pickler.is_paired or is_changed(module_of(type(value)), name)) and _travels(pickler, value)
    return NotImplemented if goes_by_content else name


@contextlib.contextmanager
def by_content(value: Any) -> Iterator[None]:
    """Pickle an object by its content inside the block, also if that fails."""
    _by_content.add(id(value))
    try:
        yield
    finally:
        _by_content.discard(id(value))


def _travels(pickler: Pickler, value: Any) -> bool:
    """Whether the content of an object can be pickled. A lock, a connection stay with each side's own object."""
    key = id(value)
    if key in _tried:
        return True
    _tried.add(key)
    try:
        return pickler.travels(value)
    finally:
        _tried.discard(key)
