"""How often a value is copied on its way into a message and out of one, by the memory that it takes."""

from __future__ import annotations

import gc
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import pack, unpack

LARGE = 32 << 20


def texts() -> list[str]:
    return [f"{number:064d}" * 1024 for number in range(LARGE >> 16)]


def frame() -> Any:
    return pd.DataFrame({"a": np.arange(LARGE // 16), "b": np.ones(LARGE // 16)})


KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: np.arange(LARGE // 8),
    "read-only array": lambda: np.frombuffer(bytes(LARGE)),
    "bytes": lambda: bytes(LARGE),
    "bytearray": lambda: bytearray(LARGE),
    "texts": texts,
    "pieces": lambda: [bytes([number % 256]) * (1 << 15) for number in range(LARGE >> 15)],
    "text": lambda: "x" * LARGE,
    "frame": frame,
}


def peak(act: Callable[[], Any]) -> tuple[float, Any]:
    """The most memory that `act` needs at once, in sizes of a large value, and what it returns."""
    gc.collect()
    tracemalloc.start()
    try:
        result = act()
        return tracemalloc.get_traced_memory()[1] / LARGE, result
    finally:
        tracemalloc.stop()


TWICE = {"sent": {"text"}, "came": {"bytes", "text"}}
"""Pickle has a text and its encoding at once; `bytes` are made from the writable copy that any other buffer is."""


@pytest.mark.parametrize("kind", KINDS)
def test_one_copy_each_way(kind: str) -> None:
    """Into the message: what is sent. Out of it: the value itself."""
    value = KINDS[kind]()
    sent, transfer = peak(lambda: pack({"value": value}, {}, InlineStore()))
    assert sent < 1.3 + (kind in TWICE["sent"])
    message = pickle.loads(pickle.dumps(transfer, 4))
    came, arrived = peak(lambda: unpack(message, {}, InlineStore(dict(message.inline))))
    assert came < 1.3 + (kind in TWICE["came"])
    assert np.array_equal(arrived.values["value"], value)  # noqa: PD011 - no frame
