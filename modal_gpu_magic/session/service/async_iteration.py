"""Read an async iterator from synchronous code: a thread runs it, since the notebook's thread runs an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

MAX_QUEUED = 1000
"""Maximum number of unread items; the thread waits when the queue is full."""
CHECK_SECONDS = 0.5
"""Seconds between two checks, in a waiting thread, whether the reader has stopped."""
_END = object()


def driven(make: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
    """Iterate over the async iterator that `make` returns; `make` is called when the first item is requested.

    Ending the iteration early (■, `break`, an error) cancels the async iterator.

    Raises:
        BaseException: the iterator's error, after the items before it; also CancelledError and SystemExit.
    """
    from modal_gpu_magic.sdk.app import FOLLOWERS

    driver = _Driver(make)
    FOLLOWERS.run(driver.run)
    try:
        while True:
            item, error = driver.items.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        driver.leave()


class _Driver:
    """One iteration in a thread. `items`: pairs of an item and an error, one of them None."""

    def __init__(self, make: Callable[[], AsyncIterator[Any]]) -> None:
        self.items: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(MAX_QUEUED)
        self._make = make
        self._left = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Run the whole iteration; called in a thread."""
        self._task = self._loop.create_task(self._drive())
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as error:  # noqa: BLE001 - raised in the reader; after `leave` it is dropped
            self._put(None, error)
        finally:
            try:
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            finally:
                self._loop.close()

    def leave(self) -> None:
        """Cancel the iteration after the reader has stopped."""
        self._left.set()
        task = self._task
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the iteration has ended
                self._loop.call_soon_threadsafe(task.cancel)

    async def _drive(self) -> None:
        if self._left.is_set():
            return
        async for item in self._make():
            self._put(item)
        self._put(_END)

    def _put(self, item: Any, error: BaseException | None = None) -> None:
        while not self._left.is_set():
            try:
                self.items.put((item, error), timeout=CHECK_SECONDS)
            except queue.Full:
                continue
            return
