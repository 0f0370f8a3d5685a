"""Run functions of background runs on the kernel's main thread, between two cells.

The notebook's values are read and written on the main thread only, and never while a native cell runs: a cell would see
its variables change between two of its lines. A cell that asks for a run (`train.result()`) wants that change.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.session.run.interrupts import whole

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class MainThread:
    """Functions that wait for the main thread.

    Attributes:
        runs: number of background cells whose runs have not ended.
        before_cell: called on the main thread when the next cell begins, once.
        on_call: called from any thread when a function begins to wait; the front end then arranges `run_pending`.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.before_cell: list[Callable[[], None]] = []
        self.on_call: Callable[[], None] | None = None
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._bells: list[Future[None]] = []
        self._lock = threading.Lock()
        self._is_running = False

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function on the main thread between two cells, and return its result; callable from any thread."""
        if is_main():
            return function()
        waiting: Future[_T] = Future()
        self._calls.append((function, waiting))
        self.ring()
        if self.on_call is not None:
            self.on_call()
        return waiting.result()

    @property
    def waits(self) -> bool:
        """Whether a function waits for the main thread."""
        return bool(self._calls)

    def run_pending(self) -> None:
        """Run the waiting functions, on the main thread. ■ waits until the last one has ended.

        Raises:
            KeyboardInterrupt: ■ was pressed meanwhile.
        """
        if not self._calls or self._is_running or not is_main():
            return
        self._is_running = True
        try:
            with whole():
                while self._calls:
                    function, waiting = self._calls.popleft()
                    _complete(function, waiting)
        finally:
            self._is_running = False
        self.ring()

    def bell(self) -> Future[None]:
        """Return a future that completes when a function begins to wait, or when a run has changed its state."""
        bell: Future[None] = Future()
        with self._lock:
            self._bells.append(bell)
        if self._calls:
            self.ring()
        return bell

    def ring(self) -> None:
        """Complete all futures of `bell`."""
        with self._lock:
            bells, self._bells = self._bells, []
        for bell in bells:
            with contextlib.suppress(Exception):  # the waiter has gone
                bell.set_result(None)


def _complete(function: Callable[[], Any], waiting: Future[Any]) -> None:
    try:
        waiting.set_result(function())
    except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
        waiting.set_exception(error)


def is_main() -> bool:
    """Whether this is the main thread."""
    return threading.current_thread() is threading.main_thread()


MAIN_THREAD = MainThread()
