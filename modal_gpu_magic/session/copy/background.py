"""Run network work in a thread with its own event loop; show its progress; cancel it at ■."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

UPDATE_SECONDS = 0.2
"""Seconds between two updates of the progress."""
MAX_PARALLEL = 8
"""Maximum number of parallel transfers."""


@dataclass(slots=True)
class Progress:
    """The progress of a copy, updated by the copying thread.

    Attributes:
        total: size of all files, bytes; 0: not known yet.
        done: size of the copied data, bytes.
        name: the file that was started last.
    """

    total: int = 0
    done: int = 0
    name: str = ""


Show = Callable[[Progress], None]
"""Called several times a second on the caller's thread."""


def silent(_: Progress) -> None:
    """Show nothing."""


class Job(Generic[T]):
    """Runs one coroutine to its end in a thread. ■ cancels it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._over, self._begun = threading.Event(), threading.Event()
        self._cancel: Callable[[], object] | None = None

    def run(self, progress: Progress, show: Show = silent) -> T:
        """Run the work and return its result.

        Raises:
            KeyboardInterrupt: ■ was pressed; the work has been cancelled and has ended.
            Exception: the error of the work.
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
    """Run the works, up to MAX_PARALLEL at a time. The first error cancels the others and is raised."""
    gate = asyncio.Semaphore(MAX_PARALLEL)

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
