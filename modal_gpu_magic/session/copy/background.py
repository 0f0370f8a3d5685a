"""Work that waits for the network, in a thread with an event loop of its own: shown while it goes on, stopped by ■."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

UPDATE_SECONDS = 0.2
"""Seconds between two looks at how far it is."""
AT_ONCE = 8
"""How many files are on their way at a time."""


@dataclass(slots=True)
class Progress:
    """How far a copy is; changed by the thread that copies."""

    total: int = 0
    """Bytes; 0 as long as it is not known."""
    done: int = 0
    name: str = ""
    """The file that was last begun."""


Show = Callable[[Progress], None]
"""Called on the caller's thread, some times a second."""


def silent(_: Progress) -> None:
    """Show nothing."""


class Job(Generic[T]):
    """One coroutine run to its end in a thread. ■ cancels it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._over, self._begun = threading.Event(), threading.Event()
        self._cancel: Callable[[], object] | None = None

    def run(self, progress: Progress, show: Show = silent) -> T:
        """Wait for its result.

        Raises:
            KeyboardInterrupt: ■ was pressed; the work has been cancelled and is over.
            Exception: whatever the work raised.
        """
        thread = threading.Thread(target=self._run, name="modal-gpu-files", daemon=True)
        thread.start()
        try:
            while not self._over.wait(UPDATE_SECONDS):
                show(progress)
        except KeyboardInterrupt:
            self._begun.wait()
            if self._cancel is not None:
                self._cancel()
            self._over.wait()
            raise
        if self._error is not None:
            raise self._error
        show(progress)
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(asyncio.run(self._main()))
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            self._error = error
        finally:
            self._begun.set()
            self._over.set()

    async def _main(self) -> T:
        task = asyncio.ensure_future(self._work())
        loop = asyncio.get_running_loop()
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        self._begun.set()
        return await task


async def together(works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all of it, some at a time. The first error ends the others and is raised."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with gate:
            await work()

    tasks = [asyncio.ensure_future(one(work)) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
