"""Values that a thread of the user changes while they are compared and packed: each change comes at a fixed moment."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.container.state.namespace import MOST_ATTEMPTS, UNSETTLED, NamespaceSync
from modal_gpu_magic.wire.buffers.hashing import HashingFile
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.messages.events import Request
from modal_gpu_magic.wire.pickles.fingerprints import look


class Counted:
    """Does something at each pickling."""

    def __init__(self, act: Any) -> None:
        self.act, self.count = act, 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.count += 1
        self.act(self.count)
        return int, (0,)


def leave(namespace: dict[str, Any], cell: dict[str, Any]) -> Any:
    """What returns from a cell that binds some names."""
    sync = NamespaceSync(namespace, dict(namespace))
    request = Request("run", "", "cell", 1, binds=tuple(cell), fetch_bytes=1 << 20)
    before = sync.before(request, InlineStore())
    namespace.update(cell)
    return sync.leave(request, before, (), 0.0, InlineStore())


def test_a_value_that_changes_while_it_is_packed_stays_alone() -> None:
    counted = Counted(lambda _: None)
    leave({}, {"history": counted, "loss": [0.5]})

    def grows(count: int) -> None:
        if count == counted.count:  # the last time, after all comparisons
            raise RuntimeError("dictionary changed size during iteration")

    leaving = leave({}, {"history": Counted(grows), "loss": [0.5]})
    assert leaving.values.names == ("loss",)
    assert [(stay.name, stay.why) for stay in leaving.stays] == [("history", UNSETTLED)]


def test_a_name_that_is_deleted_while_values_are_packed_is_left_out() -> None:
    namespace: dict[str, Any] = {}
    deletes = Counted(lambda count: namespace.pop("gone", None))
    leaving = leave(namespace, {"first": deletes, "gone": [1], "loss": [0.5]})
    assert "loss" in leaving.values.names


def test_names_may_be_bound_while_the_names_are_listed() -> None:
    namespace: dict[str, Any] = {f"name{number}": number for number in range(50)}
    sync = NamespaceSync(namespace, {})

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_name in {"is_name", "_is_the_users"}:
            namespace[f"late{len(namespace)}"] = 1
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = sync.user_names.bound
    finally:
        sys.settrace(before)
    assert {f"name{number}" for number in range(50)} <= set(found)


def test_a_dict_that_grows_while_it_is_fingerprinted_is_another_kind_of_value() -> None:
    """The fast path writes 64 KB at a time to a file in Python, where another thread may go on."""
    history = {number: float(number) for number in range(20_000)}
    writes = HashingFile.write.__code__

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is writes and len(history) == 20_000:
            history[20_000] = 0.5
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = look((history,), {})
    finally:
        sys.settrace(before)
    assert found is not None
    assert len(history) == 20_001
    assert pickle.loads(pickle.dumps(history)) == history


@pytest.mark.parametrize("cell", [{f"a{n}": np.ones(20_000) for n in range(12)}, {"text": "x" * (2 << 20)}])
def test_a_kernel_that_has_ended_with_its_directory(tmp_path: Path, cell: dict[str, Any]) -> None:
    """The values stay: another kernel that attaches gets them."""
    namespace: dict[str, Any] = {}
    store = SharedStore(tmp_path / "gone")
    sync = NamespaceSync(namespace, {})
    request = Request("run", "", "cell", 1, binds=(*cell, "small"), fetch_bytes=1 << 30)
    before = sync.before(request, store)
    namespace.update(cell, small=[1])
    (tmp_path / "gone").rmdir()
    leaving = sync.leave(request, before, (), 0.0, store)
    assert leaving.values.names == ("small",)
    assert {stay.name for stay in leaving.stays} == cell.keys()
    assert all("does not take" in stay.why for stay in leaving.stays)
    assert not (tmp_path / "gone").exists()


def test_each_of_many_values_that_change_while_they_are_packed_stays() -> None:
    """More values than attempts for a thread that changes the namespace."""

    def fickle() -> Counted:
        def act(count: int) -> None:
            if looks and count > looks:
                raise ValueError("not twice")

        return Counted(act)

    looks = 0
    counted = fickle()
    leave({}, {"fickle": counted})
    looks = counted.count - 1  # all but the last time, when it is packed
    cell = {f"fickle{n}": fickle() for n in range(2 * MOST_ATTEMPTS)}
    leaving = leave({}, {**cell, "loss": [0.5]})
    assert leaving.values.names == ("loss",)
    assert {stay.name for stay in leaving.stays} == cell.keys()
