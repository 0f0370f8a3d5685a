"""Carry one value over: packed, and unpacked by a receiver that has nothing yet, in this process."""

from __future__ import annotations

from typing import Any

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import pack, unpack


def carried(value: Any) -> Any:
    """Return what arrives of a value."""
    transfer = pack({"value": value}, {}, InlineStore())
    arrived = unpack(transfer, {}, InlineStore(transfer.inline))
    assert not arrived.failed
    return arrived.values["value"]
