"""A call of a generator that is stopped before its id has come, against a function that answers when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic import Service
from modal_gpu_magic.session.service.running import RunningService
from tests.session.serving import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Slow:
    """Modal's Function of a generator whose container starts once `may_start` is set."""

    def __init__(self) -> None:
        self.may_start, self.is_asked = threading.Event(), threading.Event()
        self.remote_gen: Any = type(
            "Both", (), {"__call__": lambda _, data: self._remote_gen(data), "aio": self._aio}
        )()

    def _remote_gen(self, _data: bytes) -> Iterator[Any]:
        self.is_asked.set()
        assert self.may_start.wait(20)
        yield "fc-1"

    async def _aio(self, _data: bytes) -> AsyncIterator[Any]:
        self.is_asked.set()
        while not self.may_start.is_set():  # noqa: ASYNC110 - set by the test's own thread
            await asyncio.sleep(0.01)
        yield "fc-1"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """The function that every service calls."""
    slow = Slow()
    monkeypatch.setattr(RunningService, "function", lambda _self, _name: slow)
    return slow


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The ids of the calls that were cancelled."""
    ids: list[str | None] = []
    monkeypatch.setattr(RunningService, "cancel", lambda _self, call_id: ids.append(call_id))
    return ids


def test_a_press_before_the_id_has_come_cancels_the_call_once_it_comes(slow: Slow, cancelled: list[str | None]) -> None:
    service = Service("def items(): yield 1", name="svc")

    def press() -> None:
        assert slow.is_asked.wait(20)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt, match=r"stopped in a call of svc.items"):
        next(service.items())
    presser.join()
    assert cancelled == []
    slow.may_start.set()
    eventually(lambda: cancelled == ["fc-1"])


def test_a_task_that_is_cancelled_before_the_id_has_come(slow: Slow, cancelled: list[str | None]) -> None:
    service = Service("def items(): yield 1", name="svc")

    async def main() -> None:
        items = service.items.aio()
        task = asyncio.ensure_future(anext(items))
        while not slow.is_asked.is_set():  # noqa: ASYNC110 - set by the generator, in this loop
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        slow.may_start.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(eventually, lambda: cancelled == ["fc-1"]), 20)

    asyncio.run(main())
    assert cancelled == ["fc-1"]
