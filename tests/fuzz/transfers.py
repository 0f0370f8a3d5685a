"""Transfers, and calls of services: what was changed on its way is refused with one error, and takes no memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore, Store
from modal_gpu_magic.wire.calls import decode, encode
from modal_gpu_magic.wire.messages.events import Segment, Transfer
from modal_gpu_magic.wire.transfer import pack, unpack
from tests.fuzz.target import Case, fault_of, mutated

VALUES: tuple[dict[str, Any], ...] = (
    {"a": np.arange(20_000.0), "b": [1, "two", {3}], "c": bytes(100_000)},
    {"text": "é" * 500, "none": None},
    {"numbers": list(range(3000)), "class": type("Own", (), {"x": 1}), "f": lambda: 1},
)
ODD: tuple[Any, ...] = (None, -1, 2**62, "x", b"x", (), ("../x",), ("0" * 32,), [], {}, {"0" * 32: 7}, object())


@contextmanager
def target() -> Iterator[Case]:
    """Transfers that are whole, in messages and in a directory."""
    with TemporaryDirectory() as place:
        inline = [pack(values, {}, InlineStore()) for values in VALUES]
        shared = [pack(values, {}, SharedStore(Path(place))) for values in VALUES]
        calls = [encode(value, {}, "x") for values in VALUES for value in values.values()]

        def case(numbers: random.Random) -> str | None:
            if numbers.random() < 0.2:
                blob = mutated(numbers.choice(calls), numbers)
                return _named(f"decode({blob!r})", lambda: decode(blob, {}))
            sent = numbers.choice((*inline, *shared))
            arrived = _changed(sent, numbers)
            store: Store = SharedStore(Path(place)) if sent in shared else InlineStore(_inline(arrived))
            return _named(f"unpack({arrived!r:.3000})", lambda: unpack(arrived, {}, store))

        yield case


def _inline(transfer: Transfer) -> dict[str, bytes]:
    """The buffers of a message, as its receiver takes them from it."""
    return transfer.inline if type(transfer.inline) is dict else {}


def _named(what: str, act: Any) -> str | None:
    fault = fault_of(lambda: _refused(act), measured=True)
    return None if fault is None else f"{fault}: {what}"


def _refused(act: Any) -> None:
    try:
        act()
    except TransferError:
        return
    raise AssertionError("a damaged transfer was taken")


def _changed(sent: Transfer, numbers: random.Random) -> Transfer:
    """The transfer with one change that matters to whoever reads the values."""
    changes: list[dict[str, Any]] = [
        {numbers.choice([each.name for each in fields(Transfer)]): numbers.choice((None, 1.5, object(), {1: 2}))},
        {"segments": sent.segments[1:] + numbers.choice(((), (Segment("z"),), (Segment("c"),) * 9))},
        {"base": numbers.randrange(1, 99)},
        {"nbytes": sent.nbytes + numbers.choice((-1, 1, 2**62))},
        {"digest": mutated(sent.digest, numbers)},
        {"buffers": (*sent.buffers, numbers.choice(ODD))},
    ]
    if sent.stream:
        changes.append({"stream": mutated(sent.stream, numbers)})
    if sent.inline:
        key = numbers.choice(sorted(sent.inline))
        changes.append({"inline": {**sent.inline, key: mutated(sent.inline[key], numbers)}})
    while (changed := replace(sent, **numbers.choice(changes))) == sent:
        pass
    return changed
