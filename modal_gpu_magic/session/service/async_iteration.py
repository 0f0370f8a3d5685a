"""An async iterator read by plain code: a thread drives it, since a notebook's own thread runs a loop already."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

AHEAD = 1000
"""Items that may wait to be read; then the thread waits."""
LOOK_SECONDS = 0.5
"""Between two looks whether anybody reads on, for a thread that waits."""
_END = object()


def driven(make: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
    """Iterate over what `make` makes; it is made, and begins, with the first item that is asked for.

    An iteration that is left (■, `break`, an error) cancels it.

    Raises:
        BaseException: the iterator's own, in its place; CancelledError and SystemExit, too.
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
    """One iteration in its thread. `items` are pairs of an item and the error in its place."""

    def __init__(self, make: Callable[[], AsyncIterator[Any]]) -> None:
        self.items: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(AHEAD)
        self._make = make
        self._left = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        """In a thread: everything."""
        self._task = self._loop.create_task(self._drive())
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as error:  # noqa: BLE001 - raised where the items are read; after `leave` nobody reads
            self._put(None, error)
        finally:
            try:
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            finally:
                self._loop.close()

    def leave(self) -> None:
        """Nobody reads on."""
        self._left.set()
        task = self._task
        if task is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended meanwhile
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
                self.items.put((item, error), timeout=LOOK_SECONDS)
            except queue.Full:
                continue
            return
