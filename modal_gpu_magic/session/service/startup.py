"""Start a service: define it, start its first container, run the cell's top level, and show the progress."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import BackendLost
from modal_gpu_magic.session.run.front import Front, Phase, State
from modal_gpu_magic.session.run.lifecycle import DRAIN_LIMIT
from modal_gpu_magic.session.run.pump import UPDATE_SECONDS
from modal_gpu_magic.wire.calls import Fault
from modal_gpu_magic.wire.messages.log import Assembler

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.sdk.service import ServiceApp
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.wire.messages.events import Answer, Event, Failure, Frame

LAST_OUTPUT = 0.5
"""Seconds to wait for the last output of a lost container."""


class Starting:
    """Starts a service with `run()`. A thread does the slow work and sends messages to the inbox.

    Args:
        kind: the backend.
        make: packs the values and returns the App for a connected backend.
        subject: the machine, as the status line names it.
        front: shows the output of the top level.
        inbox: gets the messages and the presses of ■.
    """

    def __init__(
        self, kind: Kind, make: Callable[[Backend], ServiceApp], subject: str, front: Front, inbox: Inbox
    ) -> None:
        self.kind, self.make, self.subject, self.front, self.inbox = kind, make, subject, front, inbox
        self.app: ServiceApp | None = None
        self.answer: Answer | None = None
        self.alive_since: float | None = None
        """When the first container began, on the monotonic clock; None: not known."""
        self.awake = False
        self.lost: BaseException | None = None
        self._given_up = False
        self._assembler, self._life = Assembler(), ""
        self._phase: Phase = "connecting"
        self._phase_since = self._ended_at = self._shown_at = time.monotonic()

    def run(self) -> tuple[ServiceApp, Answer | None]:
        """Start the service; return its App and the answer of the first container's top level.

        Raises:
            KeyboardInterrupt: ■ was pressed; the App ends.
            Fault: the error of the top level.
            ModalGpuError: the service could not start.
        """
        from modal_gpu_magic.sdk.app import FOLLOWERS

        FOLLOWERS.run(self._go)
        try:
            while not self._over():
                self._take()
            self._check()
        except BaseException:
            self._give_up()
            raise
        if self.app is None:
            raise BackendLost("the service ended while it was starting.")
        self.app.finish(self.app.program.service)
        return self.app, self.answer

    def _go(self) -> None:
        """Connect, define and start the service in a thread. Errors become messages."""
        from modal_gpu_magic.sdk.client import connect

        try:
            backend = connect(self.kind)
            self.inbox.put(("phase", "sending"))
            self.app = app = self.make(backend)
            app.listen(app.program.service, lambda kind, body: self.inbox.put((kind, body)))
            self.inbox.put(("phase", "building"))
            app.open()
            self.inbox.put(("phase", "waiting"))
            app.wake()
            self.inbox.put(("awake", None))
        except BaseException as error:  # noqa: BLE001 - raised on the cell's thread
            self.inbox.put(("lost", error))
        if self._given_up and self.app is not None:
            self.app.close()

    def _over(self) -> bool:
        """Whether the start is over: the answer has arrived, or DRAIN_LIMIT has passed since the first call ended."""
        if self.answer is not None:
            return True
        return (self.awake or self.lost is not None) and time.monotonic() > self._ended_at + DRAIN_LIMIT

    def _take(self) -> None:
        waiting = self.awake or self.lost is not None
        try:
            kind, body = self.inbox.get(timeout=0.1 if waiting else UPDATE_SECONDS)
        except queue.Empty:
            kind, body = "tick", None
        if kind == "press":
            raise KeyboardInterrupt("stopped while the service was starting")
        if kind == "frame":
            self._frame(body)
        elif kind == "phase":
            self._enter(body)
        elif kind == "awake":
            self.awake, self._ended_at = True, time.monotonic()
        elif kind in ("lost", "closed"):
            self._lose(body)
        if time.monotonic() - self._shown_at >= UPDATE_SECONDS:
            self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        subject = "values" if self._phase == "sending" else self.subject
        self.front.show(State(self._phase, subject, self._shown_at - self._phase_since))

    def _lose(self, error: BaseException | None) -> None:
        self.lost = error or BackendLost("the service ended while it was starting.")
        self._ended_at = time.monotonic()
        if self._phase not in ("waiting", "starting"):  # the top level has not started: no output can arrive
            self._ended_at -= DRAIN_LIMIT
        elif not isinstance(error, Fault):  # the container was lost: no answer can arrive
            self._ended_at -= DRAIN_LIMIT - LAST_OUTPUT

    def _frame(self, frame: Frame) -> None:
        """Handle the events of the container that reports first; ignore others that start at the same time."""
        life = frame.run.partition("/")[2]
        self._life = self._life or life
        if life != self._life:
            return
        for event in self._assembler.feed(frame):
            self._event(event)

    def _event(self, event: Event) -> None:
        if event.kind == "started":
            self.alive_since = time.monotonic() - (event.content["time"] - event.content["booted_at"])
            self._enter("starting")
        elif event.kind == "end":
            self.answer = event.content["answer"]
        elif event.kind == "note":
            self.front.say(event.content["text"])
        else:
            self.front.event(event)

    def _enter(self, phase: Phase) -> None:
        self._phase, self._phase_since = phase, time.monotonic()
        self._show()

    def _check(self) -> None:
        from modal_gpu_magic.sdk.faults import translate

        failure: Failure | None = self.answer.failure if self.answer else None
        if failure is not None:
            raise Fault(failure)
        if self.answer is None and self.lost is not None:
            raise translate(self.lost)

    def _give_up(self) -> None:
        """Close the App in a thread, without waiting."""
        self._given_up = True
        app = self.app
        if app is not None:
            threading.Thread(target=app.close, name="modal-gpu-close").start()
