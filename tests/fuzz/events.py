"""Events: what was changed on its way is refused as damaged; what was not comes in order, once, in any order of frames."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any, get_args

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import Event, EventKind, Frame
from modal_gpu_magic.wire.messages.log import Assembler, Log, cut
from modal_gpu_magic.wire.messages.seal import opened
from tests.fuzz.target import Case, fault_of, mutated, ready

KINDS = get_args(EventKind)
CONTENTS: tuple[dict[str, Any], ...] = (
    {"name": "stdout", "text": "abc\n" * 30},
    {"data": {"image/png": "x" * 3000, "text/plain": "x"}, "metadata": {}},
    {"content": {"data": {}}, "metadata": {}, "buffers": [b"x" * 700]},
    {},
)
ODD: tuple[Any, ...] = (None, -1, 2**62, 1.5, "x", b"x", (), (1,), [], {}, (0, 0), (5, 2), (2**62, 2**63), object())


def case(numbers: random.Random) -> str | None:
    """Send the events of a run, and damage one frame of it."""
    log = Log(numbers.choice((1 << 20, 5_000)))
    for _ in range(numbers.randrange(1, 12)):
        log.add(numbers.choice(KINDS), dict(numbers.choice(CONTENTS)))
    blobs = [packed.blob for packed in cut("run", log.since(0), numbers.choice((900, 1_500, 100_000)))]
    numbers.shuffle(blobs)
    blobs += numbers.choices(blobs, k=2)
    sent = log.since(0)
    wrong = mutated(numbers.choice(blobs), numbers)
    frame = opened(numbers.choice(blobs))
    odd = _changed(frame, numbers)
    for fault in (
        fault_of(lambda: _whole(blobs, sent)),
        fault_of(lambda: _refused(wrong), measured=True),
        fault_of(lambda: Assembler().feed(odd), DamagedError, measured=True),
    ):
        if fault is not None:
            return f"{fault}: opened({wrong!r}), feed({odd!r})"
    return None


def _whole(blobs: list[bytes], sent: tuple[Event, ...]) -> None:
    assembler = Assembler()
    got = [event for blob in blobs for event in assembler.feed(opened(blob))]
    assert tuple(got) == sent, "the events are others"


def _refused(blob: bytes) -> None:
    try:
        opened(blob)
    except DamagedError:
        return
    raise AssertionError("a damaged frame was taken")


def _changed(frame: Frame, numbers: random.Random) -> Any:
    """A frame with a field of another type, or an event of it, or no frame at all."""
    name = numbers.choice([each.name for each in fields(Frame)])
    changes = [numbers.choice(ODD), replace(frame, **{name: numbers.choice(ODD)})]
    if frame.events:
        name = numbers.choice([each.name for each in fields(Event)])
        changes.append(replace(frame, events=(replace(frame.events[0], **{name: numbers.choice(ODD)}),)))
    return numbers.choice(changes)


def target() -> AbstractContextManager[Case]:
    """Events need nothing."""
    return ready(case)
