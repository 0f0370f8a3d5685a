"""Answers to `input()`: the kernel sends one again while the network fails, and the container takes it once."""

from __future__ import annotations

import queue
from types import SimpleNamespace
from typing import Any

import pytest
from modal.exception import AuthError, ConnectionError  # noqa: A004 - the SDK's class

from modal_gpu_magic.errors import GivenUp
from modal_gpu_magic.sdk import patience
from modal_gpu_magic.sdk.app import Call, OpenApp
from modal_gpu_magic.sdk.entry import answers_from


class Partition:
    """The queue at Modal. Its first requests to put fail as `faults` says, each after the item has arrived if `late`."""

    def __init__(self, *faults: BaseException, late: bool = False) -> None:
        self.faults, self.late = list(faults), late
        self.items: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, item: Any, *, partition: str) -> None:
        """Take in an item."""
        assert partition == "stdin-r"
        fault = self.faults.pop(0) if self.faults else None
        if fault is None or self.late:
            self.items.put(item)
        if fault is not None:
            raise fault

    def get(self, *, partition: str, timeout: float) -> Any:
        """Return the next item, as long as one is there."""
        assert (partition, timeout > 0) == ("stdin-r", True)
        return self.items.get_nowait()


def call_of(partition: Partition, *, closed: bool = False, seconds: float = 60.0) -> Call:
    """Return the call of a run `r`."""
    app: Any = SimpleNamespace(queue=partition, closed=closed, backend=SimpleNamespace(lost=None))
    app.answer = lambda *arguments: OpenApp.answer(app, *arguments)
    request: Any = SimpleNamespace(run="r")
    return Call(app, request, lambda _kind, _body: None, seconds)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits between two attempts."""
    monkeypatch.setattr(patience, "FIRST_DELAY", 0.0)


@pytest.mark.parametrize("late", [False, True], ids=["the answer is lost", "the reply is lost"])
def test_an_answer_arrives_once_whatever_the_network_does(late: bool) -> None:
    partition = Partition(ConnectionError("no route"), TimeoutError(), late=late)
    call = call_of(partition)
    call.answer("bob")
    call.answer("bob")
    answer = answers_from(partition, "r")  # type: ignore[arg-type]  # as a modal.Queue
    assert [answer(), answer()] == ["bob", "bob"]
    with pytest.raises(queue.Empty):
        answer()


def test_an_answer_that_never_arrives_is_an_error() -> None:
    with pytest.raises(AuthError):
        call_of(Partition(AuthError("expired"))).answer("bob")
    with pytest.raises(GivenUp):
        call_of(Partition(*[ConnectionError("no route")] * 9), seconds=0.0).answer("bob")


def test_an_answer_that_nobody_needs_is_no_error() -> None:
    partition = Partition(ConnectionError("no route"))
    call_of(partition, closed=True).answer("bob")
    assert partition.items.empty()
