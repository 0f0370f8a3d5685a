"""A service on its way: from its definition to a container that has run the cell's top level, seen as it happens."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import BackendLost
from modal_gpu_magic.session.run.front import Front, Phase, State
from modal_gpu_magic.session.run.pump import DRAIN_LIMIT, UPDATE_SECONDS
from modal_gpu_magic.wire.calls import Fault
from modal_gpu_magic.wire.messages.log import Assembler

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.sdk.client import Backend, Kind
    from modal_gpu_magic.sdk.service import ServiceApp
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.wire.messages.events import Answer, Event, Failure, Frame

LAST_OUTPUT = 0.5
"""Seconds that what a lost container wrote last may still be on its way."""


class Starting:
    """One start. `run()` is the whole of it; everything slow happens in a thread, and is told to the inbox.

    Args:
        kind: the backend.
        make: makes the App once the backend is there; packs the values.
        subject: the machine, as the status line has it.
        front: shows what the top level puts out.
        inbox: also gets the presses of ■.
    """

    def __init__(
        self, kind: Kind, make: Callable[[Backend], ServiceApp], subject: str, front: Front, inbox: Inbox
    ) -> None:
        self.kind, self.make, self.subject, self.front, self.inbox = kind, make, subject, front, inbox
        self.app: ServiceApp | None = None
        self.answer: Answer | None = None
        self.awake = False
        self.lost: BaseException | None = None
        self._given_up = False
        self._assembler, self._life = Assembler(), ""
        self._phase: Phase = "connecting"
        self._phase_since = self._ended_at = self._shown_at = time.monotonic()

    def run(self) -> tuple[ServiceApp, Answer | None]:
        """Start, and return the App with how the top level ended in the first container.

        Raises:
            KeyboardInterrupt: ■; the App ends. Fault: the top level's own error. ModalGpuError: it could not start.
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
        """In a thread: connect, define, wake. All that happens is told, nothing is raised."""
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
        """The container says how its top level ended; if that is lost on the way, the call that woke it must do."""
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
        elif kind in ("lost", "reader", "closed"):
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
        if self._phase not in ("waiting", "starting"):  # nothing of the top level's can be on its way
            self._ended_at -= DRAIN_LIMIT
        elif not isinstance(error, Fault):  # and no word of its end
            self._ended_at -= DRAIN_LIMIT - LAST_OUTPUT

    def _frame(self, frame: Frame) -> None:
        """Several containers may start at once: the first one that is heard of is shown."""
        life = frame.run.partition("/")[2]
        self._life = self._life or life
        if life != self._life:
            return
        for event in self._assembler.feed(frame):
            self._event(event)

    def _event(self, event: Event) -> None:
        if event.kind == "started":
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
        """End the App, without waiting for it."""
        self._given_up = True
        app = self.app
        if app is not None:
            threading.Thread(target=app.close, name="modal-gpu-close").start()
