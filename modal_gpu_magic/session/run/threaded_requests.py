"""Requests to Modal in threads, so that the kernel's main thread handles ■ and output while a network stalls.

During a run, the answer to a request is a message in the run's inbox. After the run, the pump waits for the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import GivenUp, TakenOver
from modal_gpu_magic.sdk.faults import has_app_ended, translate
from modal_gpu_magic.session.run.interrupts import interruptible

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.sdk.app import Call
    from modal_gpu_magic.session.run.interrupts import Inbox

UNANSWERED = "The answer to input() was not sent: {}. The cell waits for the answer; ■ stops the cell."


class ThreadedRequests:
    """The requests about one run. A request is not made again while the same request is in progress.

    Args:
        call: the run.
        inbox: gets the answers.
    """

    def __init__(self, call: Call, inbox: Inbox) -> None:
        self._call, self._inbox = call, inbox
        self._in_progress: set[str] = set()

    def put_marker(self) -> None:
        """Put the marker behind the container's last event; the queue brings the message `flush` behind that event."""
        self._start("marker", self._put_marker)

    def ask_for_end(self) -> None:
        """Ask the container how the run ended: the server discarded the answer, or the cell had not begun.

        Message: `settled` with the answer; None: the cell did not begin and never will, or another container answers.
        No message: the cell continues, or its container ends, which later messages say.
        """
        self._start("end", self._ask_for_end)

    def ask_for_state(self) -> None:
        """Ask whether a container has been started. Message: `booting` or `queued`; none if Modal gives no answer."""
        self._start("state", self._ask_for_state)

    def read_log(self) -> None:
        """Read the App's log. Message: `log` with the text."""
        self._start("log", lambda: self._inbox.put(("log", self._call.app.log())))

    def answer(self, text: str) -> None:
        """Send the answer to a question of the cell. Message: `unanswered` with a sentence, if that failed for good."""
        self._start(f"answer {time.monotonic()}", lambda: self._answer(text))

    def _put_marker(self) -> None:
        try:
            self._call.app.flush(self._call.request.run)
        except Exception as error:  # noqa: BLE001 - a limit of the run ends the wait
            if has_app_ended(error):  # the queue has ended, too: no event is on its way
                self._inbox.put(("flush", self._call.request.run))

    def _ask_for_end(self) -> None:
        self._inbox.put(("settled", self._call.ended()))

    def _ask_for_state(self) -> None:
        running = self._call.running() if self._call.id is not None else None
        if running is not None:
            self._inbox.put(("booting" if running else "queued", None))

    def _answer(self, text: str) -> None:
        try:
            self._call.answer(text)
        except Exception as error:  # noqa: BLE001 - the run goes on, and the user may stop it
            if not (isinstance(error, TakenOver) or has_app_ended(error)):  # the reader of the log reports these
                why = error.lost if isinstance(error, GivenUp) else str(translate(error)).rstrip(".")
                self._inbox.put(("unanswered", UNANSWERED.format(why)))

    def _start(self, name: str, request: Callable[[], None]) -> None:
        """Make a request in a thread, unless a request of this name is in progress: a network may stall for minutes.

        An error of the request is dropped: later messages, or a limit of the run, say how the run ends.
        """
        if name in self._in_progress:
            return
        self._in_progress.add(name)

        def run() -> None:
            with contextlib.suppress(Exception, asyncio.CancelledError):  # which the SDK raises if its client is closed
                request()
            self._in_progress.discard(name)

        _thread(run)


def wait_for(request: Callable[[], None]) -> None:
    """Make a request in a thread, and wait for its end.

    Raises:
        KeyboardInterrupt: ■ was pressed. The thread continues.
    """
    thread = _thread(request)
    with interruptible():
        thread.join()


def text_within(seconds: float, read: Callable[[], str]) -> str:
    """Read a text in a thread; return an empty text if the read takes longer than `seconds`."""
    texts: list[str] = []
    _thread(lambda: texts.append(read())).join(seconds)
    return "".join(texts)


def _thread(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, name="modal-gpu-request", daemon=True)
    thread.start()
    return thread
