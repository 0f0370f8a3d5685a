"""Pickle a message as one object: the SDK's pickler calls Python functions for each object of a message."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL = 5


class Compact:
    """Base of dataclasses that travel as arguments or results of a call.

    The fields become one pickle by C code; buffers inside (`pickle.PickleBuffer`) stay outside of it, uncopied.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the fields as one pickle."""
        buffers: list[pickle.PickleBuffer] = []
        content = [getattr(self, each.name) for each in fields(self)]  # type: ignore[arg-type]  # each subclass is a dataclass
        packed = pickle.dumps(content, PROTOCOL, buffer_callback=buffers.append)
        return _restored, (type(self), packed, *(buffer.raw().obj for buffer in buffers))


def _restored(kind: Callable[..., Any], packed: bytes, *buffers: Any) -> Any:
    return kind(*pickle.loads(packed, buffers=buffers))
