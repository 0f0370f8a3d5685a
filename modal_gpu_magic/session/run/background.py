"""A background cell: the course of its run, and the handle by which a notebook asks for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from modal_gpu_magic.errors import shown_alone
from modal_gpu_magic.plan.machine.quote import UNKNOWN, about, dollars
from modal_gpu_magic.session.run.interrupts import SeparateInbox, in_one_line
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD, is_main

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from modal_gpu_magic.session.run.receipt import Receipt

Doing = Literal["queued", "running", "done", "failed", "stopped", "lost", "timed out"]
LOG_CHARACTERS = 4_000_000
"""Most characters of output that `logs()` returns: the last ones."""
CUT = "… earlier output dropped\n"
STOPPED_WAITING = "stopped waiting for {0}; {0} goes on, and {0}.cancel() stops it"
NOT_A_VALUE = "the handle of a background cell stays in the notebook; send its result, such as r = {}.result()"


class BackgroundRun:
    """The course of one background cell, reported by the threads that run it.

    Args:
        name: the name of the handle in the notebook.
        session: the session's name.

    Attributes:
        inbox: the messages of the run, presses of ■ among them.
        doing: the state.
        words: the state for a person: `running on T4`.
        began: when the cell was started, seconds of the monotonic clock.
        cost: estimated cost, USD; None: not known, or no cost.
        is_free: whether the run is local, so that its cost is what it would be on Modal.
        receipt: the receipt; None: the run has not ended, or has none.
        is_over: set when the cell has ended and its values are in the notebook.
        ended_at: when the cell had ended in its container; None: it goes on.
        ahead: what a queued cell waits for: `train, running since 0:12`.
        withdraw: removes a queued cell from its queue, and returns whether the cell was queued.
        show: shows the handle in the cell that displays it; None: the handle is printed.
        print_output: prints output that a terminal has held back; None: the output is shown at once.
    """

    def __init__(self, name: str, session: str) -> None:
        self.name, self.session = name, session
        self.inbox = SeparateInbox()
        self.doing: Doing = "queued"
        self.words = "queued"
        self.began = time.monotonic()
        self.cost: float | None = None
        self.is_free = False
        self.receipt: Receipt | None = None
        self.is_over = threading.Event()
        self.ended_at: float | None = None
        self.ahead: Callable[[], str] = lambda: ""
        self.withdraw: Callable[[], bool] = lambda: False
        self.show: Callable[[BackgroundRun], object] | None = None
        self.print_output: Callable[[], None] | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self._log: list[str] = []
        self._log_size = 0
        self._log_is_cut = False
        self._watchers: list[Callable[[], None]] = []

    @property
    def seconds(self) -> float:
        """Time since the cell was started; after its end, its duration, as in the receipt."""
        if self.receipt is not None and self.receipt.phase_seconds:
            return sum(self.receipt.phase_seconds.values())
        return (time.monotonic() if self.ended_at is None else self.ended_at) - self.began

    @property
    def text(self) -> str:
        """`train: running on H100 · 0:12 · $0.01`, `eval: waits for train, running since 0:12`."""
        if self.doing == "queued":
            return f"{self.name}: waits for {self.ahead()}"
        return " · ".join(filter(None, (f"{self.name}: {self.words}", clock(self.seconds), self.money)))

    @property
    def money(self) -> str:
        """`$0.04`, `free (≈ $0.04 on Modal)`; after the end `cost –` if not known, as in the receipt."""
        if self.cost is None:
            return "" if self.receipt is None else "free" if self.is_free else f"cost {UNKNOWN}"
        return f"free ({about(self.cost)} on Modal)" if self.is_free else dollars(self.cost)

    @property
    def log(self) -> str:
        """The output so far, as text."""
        return (CUT if self._log_is_cut else "") + "".join(self._log)

    def waits_for(self, first: BackgroundRun, ahead: Callable[[], str]) -> None:
        """Wait in the queue behind `first`, which runs; each change of that run changes the words of this one.

        Args:
            first: the run.
            ahead: returns what is waited for.
        """
        self.ahead = ahead
        first.watch(lambda: self.tell() if self.doing == "queued" else None)

    def enters(self, doing: Doing, words: str = "") -> None:
        """Set the state."""
        if doing == "running" and self.doing == "queued":
            self.began = time.monotonic()
        self.doing, self.words = doing, words or doing
        self.tell()

    def takes(self, words: str, cost: float | None) -> None:
        """Set what the run does now, and what it has cost, about once a second."""
        self.words, self.cost = words, cost
        self.tell()

    def logs(self, text: str) -> None:
        """Add output."""
        self._log.append(text)
        self._log_size += len(text)
        if self._log_size > LOG_CHARACTERS:
            kept = self.log[-LOG_CHARACTERS // 2 :]
            self._log, self._log_size, self._log_is_cut = [kept], len(kept), True

    def clears(self) -> None:
        """Forget the output: the cell has cleared it."""
        self._log, self._log_size, self._log_is_cut = [], 0, False

    def ends_there(self) -> None:
        """Note that the cell has ended in its container; its values wait for the notebook."""
        self.ended_at = time.monotonic()
        self.takes("ended; its values come to the notebook after the running cell", self.cost)

    def ends(self, doing: Doing, result: Any = None, error: BaseException | None = None) -> None:
        """End the run: its values are in the notebook."""
        self._result, self._error = result, error
        self.ended_at = self.ended_at or time.monotonic()
        if self.receipt is not None:
            self.cost = self.receipt.cost
        self.doing, self.words = doing, doing
        self.is_over.set()
        self.tell()
        MAIN_THREAD.ring()

    def outcome(self) -> Any:
        """Return the result of the run that is over, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._result

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` at each change, from any thread."""
        self._watchers.append(watcher)

    def tell(self) -> None:
        """Call the watchers."""
        for watcher in list(self._watchers):
            watcher()


class Background:
    """A cell that runs in the background (`%%modal_gpu H100 --bg train`). The notebook has it under its name.

    Its values come to the notebook when it has ended: between two cells, or when a cell asks for its result.
    """

    def __init__(self, run: BackgroundRun) -> None:
        self._run = run

    def done(self) -> bool:
        """Return whether the cell has ended; its values are then in the notebook."""
        if is_main():
            MAIN_THREAD.run_pending()
        return self._run.is_over.is_set()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end of the cell and return the value of its last expression. ■ ends the wait alone.

        Args:
            timeout: the longest wait, seconds; None: no limit.

        Raises:
            TimeoutError: the cell still runs.
            Exception: the error that ended the cell, with the cell's own traceback.
        """
        with in_one_line(STOPPED_WAITING.format(self._run.name)):
            is_over = self._wait(timeout)
        if not is_over:
            words = f"{self._run.name} has not ended after {timeout:g} s: {self._run.words}."
            raise shown_alone(TimeoutError(words))
        return self._outcome()

    def _wait(self, timeout: float | None) -> bool:
        """Wait for the end of the cell; return whether the cell has ended in time."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            bell = MAIN_THREAD.bell()
            if self.done():
                return True
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            with contextlib.suppress(concurrent.futures.TimeoutError):
                bell.result(left)

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the end of the cell as `result()` does, without blocking the event loop."""
        while True:
            bell = MAIN_THREAD.bell()
            if self.done():
                return self._outcome()
            try:
                yield from asyncio.wrap_future(bell).__await__()
            except asyncio.CancelledError as error:  # ipykernel cancels an awaiting cell when ■ is pressed
                error.args = (STOPPED_WAITING.format(self._run.name),)
                shown_alone(error)
                raise

    def cancel(self) -> None:
        """Stop the cell as ■ does; a second call ends its container. A queued cell does not run."""
        if not self._run.is_over.is_set() and not self._run.withdraw():
            self._run.inbox.put(("press", None))

    def logs(self) -> str:
        """Return what the cell has printed and displayed so far, as text."""
        self._print_output()
        return self._run.log

    def __repr__(self) -> str:
        """`train: running on H100 · 0:12 · $0.01`."""
        return self._run.text

    def _ipython_display_(self) -> None:
        """Show the handle, in a notebook updated while the cell runs."""
        if self._run.show is not None:
            self._run.show(self._run)
        else:
            self._print_output()
            sys.stdout.write(f"{self._run.text}\n")

    def __reduce__(self) -> NoReturn:
        """Refuse to be sent to a container."""
        raise shown_alone(TypeError(NOT_A_VALUE.format(self._run.name)))

    def _outcome(self) -> Any:
        self._print_output()
        return self._run.outcome()

    def _print_output(self) -> None:
        if self._run.print_output is not None and is_main():
            self._run.print_output()


def clock(seconds: float) -> str:
    """Return `0:12`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
