"""`input()` and `getpass()` of a cell: the notebook asks the user and returns the answer."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from modal_gpu_magic.container.output.streams import flush_streams
from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.container.output.event_sender import EventSender

IN_BACKGROUND = (
    "{function}() has no answer in a background cell: the notebook does not wait for the cell. "
    "Run the cell without --bg {name}, or give it the answer as a variable."
)
END_OF_INPUT = "\x04"
"""The answer that a front end sends for Ctrl-D (as in ipykernel)."""


class StdinProxy:
    """Asks a cell's questions, one at a time."""

    def __init__(self, sender: EventSender) -> None:
        self._sender = sender
        self._fetch: _Fetch | None = None
        self._background = ""

    def begin(self, answer: Callable[[], str] | None, background: str = "") -> None:
        """Begin a run.

        Args:
            answer: waits for the next answer; None: the front end cannot answer.
            background: the name of a background cell.
        """
        self._fetch = _Fetch(answer) if answer else None
        self._background = background

    def ask(self, prompt: str = "", *, password: bool = False) -> str:
        """Ask the user and wait for the answer.

        Raises:
            StdinNotImplementedError: the front end cannot answer (papermill).
            EOFError: the answer is the end of input, or the cell runs in the background.
            KeyboardInterrupt: the user pressed ■.
        """
        if self._background:
            function = "getpass" if password else "input"
            raise EOFError(IN_BACKGROUND.format(function=function, name=self._background))
        if self._fetch is None:
            from IPython.core.error import StdinNotImplementedError

            asked = "getpass" if password else "raw_input"
            raise StdinNotImplementedError(f"{asked} was called, but this frontend does not support input requests.")
        flush_streams()
        self._fetch.start()
        self._sender.emit("input_request", prompt=str(prompt), password=password)
        self._sender.flush_now(0)
        try:
            answer = self._fetch.wait()
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Interrupted by user") from None  # ipykernel's words
        if self._sender.is_recorded:
            self._sender.emit("answered")
        if isinstance(answer, Exception):
            raise answer
        if answer == END_OF_INPUT:
            raise EOFError
        return answer


class _Fetch:
    """Reads a run's answers in a thread of its own: an interrupted wait for the queue loses an item.

    After an interrupted question, the thread keeps waiting and serves the next question.
    """

    def __init__(self, answer: Callable[[], str]) -> None:
        self._answer = answer
        self._answers: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()
        self._under_way = False

    def start(self) -> None:
        while not self._answers.empty():  # an answer to an interrupted question
            self._answers.get()
        if not self._under_way:
            self._under_way = True
            daemon("modal-gpu-ask", self._run)

    @interruptible
    def wait(self) -> str | Exception:
        return self._answers.get()

    def _run(self) -> None:
        answer: str | Exception
        try:
            answer = self._answer()
        except Exception as error:  # noqa: BLE001 - `ask` raises the error
            answer = error
        self._under_way = False
        self._answers.put(answer)
