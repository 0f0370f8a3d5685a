"""A large transfer on its way: seen while it goes, given up at ■, and nothing of it is left then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.session.run.front import SilentFront, State
from modal_gpu_magic.session.run.interrupts import Inbox
from modal_gpu_magic.session.run.upload import Sending
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.transfer import Packed, prepare, unpack

NAMESPACE: dict[str, Any] = {"__name__": "__main__"}
VALUES = {"big": np.arange(8_000_000.0)}


class Watching(SilentFront):
    """Keeps the states it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[State] = []

    def show(self, state: State) -> None:
        self.states.append(state)


def write(store: SharedStore) -> Packed:
    return prepare(VALUES, NAMESPACE, store)


def test_it_arrives_and_was_seen(tmp_path: Path) -> None:
    store, front = SharedStore(tmp_path), Watching()
    packed = Sending(store, 64_000_000).run(lambda: write(store), front, Inbox())
    assert (unpack(packed.transfer, NAMESPACE, store).values["big"] == VALUES["big"]).all()
    assert {state.phase for state in front.states} == {"sending"}
    assert front.states[-1].subject == "64 MB of 64 MB"


def test_a_press_gives_it_up_and_leaves_nothing(tmp_path: Path) -> None:
    store, inbox = SharedStore(tmp_path), Inbox()
    inbox.put(("press", None))
    sending = Sending(store, 64_000_000)

    def wait_and_write() -> Packed:
        while not sending.stopped:
            pass
        return write(store)

    with pytest.raises(KeyboardInterrupt, match="the cell did not run"):
        sending.run(wait_and_write, SilentFront(), inbox)
    assert list(tmp_path.iterdir()) == []
    assert store.has(write(store).transfer.buffers[0]), "the store works as before"


def test_an_error_is_raised_here(tmp_path: Path) -> None:
    def fail() -> Packed:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Sending(SharedStore(tmp_path), 1).run(fail, SilentFront(), Inbox())
