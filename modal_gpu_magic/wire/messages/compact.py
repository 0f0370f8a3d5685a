"""Pickle a message as one object: the SDK's pickler calls Python functions for each object of a message.

Messages are sent while cells run, which may replace the functions of `pickle` and `zlib`: they are imported by name.
"""

from __future__ import annotations

import pickle
from dataclasses import fields
from pickle import dumps, loads
from typing import TYPE_CHECKING, Any, Final
from zlib import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOL: Final = 5
COMPRESSED_BYTES: Final = range(4 << 10, 64 << 10)
"""Sizes of messages worth compressing: a compressed call may be sent without a blob, which costs round trips. Level 1
takes 1 ms for 64 KiB."""
WORTHWHILE: Final = 0.9
"""Share of the size that a compressed message may have at most."""


class Compact:
    """Base of dataclasses that travel as arguments or results of a call.

    The fields become one pickle by C code; buffers inside (`pickle.PickleBuffer`) stay outside of it, uncopied.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return the fields as one pickle, compressed where that pays."""
        buffers: list[pickle.PickleBuffer] = []
        content = [getattr(self, each.name) for each in fields(self)]  # type: ignore[arg-type]  # each subclass is a dataclass
        packed = dumps(content, PROTOCOL, buffer_callback=buffers.append)
        nbytes = len(packed) + sum(buffer.raw().nbytes for buffer in buffers)
        if nbytes in COMPRESSED_BYTES:
            compressed = compress(dumps(content, PROTOCOL) if buffers else packed, 1)
            if len(compressed) < WORTHWHILE * nbytes:
                return _decompressed, (type(self), compressed)
        return _restored, (type(self), packed, *(buffer.raw().obj for buffer in buffers))


def size_of(message: Compact) -> int:
    """Return the bytes of a message in a call, without the few dozen that the SDK adds."""
    return sum(memoryview(each).nbytes for each in message.__reduce__()[1] if not isinstance(each, type))


def _restored(kind: Callable[..., Any], packed: bytes, *buffers: Any) -> Any:
    return kind(*loads(packed, buffers=buffers))


def _decompressed(kind: Callable[..., Any], compressed: bytes) -> Any:
    return kind(*loads(decompress(compressed)))
