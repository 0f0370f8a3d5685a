"""How the answer of a run reaches the kernel: as the result of the call, as an event, or when the kernel asks again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, SPAWN_BYTES
from modal_gpu_magic.wire.messages.compact import size_of
from modal_gpu_magic.wire.messages.parcel import MARGIN_BYTES

if TYPE_CHECKING:
    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.wire.messages.events import Answer, Event

EVENT_BYTES: Final = QUEUE_ITEM_BYTES
"""Largest answer that is sent as an event."""


class AnswerDelivery:
    """The answer of the last run, and the runs that must not begin.

    Modal may deliver a request twice, and lose an answer. The kernel then asks for the answer, and gives up a run that
    has not begun.

    Args:
        sender: sends the events of runs.

    Attributes:
        last: the answer of the last run; None: no run has ended, or the next one has begun.
    """

    def __init__(self, sender: EventSender) -> None:
        self.last: Answer | None = None
        self._sender = sender
        self._run = ""
        """The last run that has ended."""
        self._given_up: set[str] = set()
        """Runs that the notebook gave up before their requests arrived. They must not begin."""

    def begin(self) -> None:
        """Free the values of the last answer, which may be large: no request asks for them again."""
        self.last = None

    def end(self, run: str, answer: Answer) -> Answer:
        """End a run: return its answer with the newest events, and keep it."""
        end = self._sender.finish()
        last = replace(answer, frames=end.frames, events=end.events, tail=end.tail, made_at=time.time())
        self.last, self._run = last, run
        return last

    def answer_of(self, run: str) -> Answer | None:
        """Return the answer of a run that Modal delivers twice; None: the run is not the last one."""
        return self.last if run == self._run else None

    def answer_or_give_up(self, run: str) -> Answer | None:
        """Return the answer of a run whose answer was lost in transit. None: the run did not and will not begin."""
        if run != self._run:
            self._given_up.add(run)
        return self.answer_of(run)

    def is_given_up(self, run: str) -> bool:
        """Whether the notebook has given a run up before its request arrived."""
        return run in self._given_up

    def is_slow(self, answer: Answer) -> bool:
        """Whether the SDK would send an answer as a blob, which takes more round trips than an event."""
        if answer.values and answer.values.nbytes > EVENT_BYTES:
            return False
        return self._sender.unsent_bytes + size_of(answer) + MARGIN_BYTES > SPAWN_BYTES

    def send_as_event(self, answer: Answer) -> bool:
        """Send an answer as the run's last event; return whether the queue has the event."""
        self._sender.emit("end", answer=answer)
        return self._sender.flush_now()

    def events_from(self, run: str, number: int) -> tuple[Event, ...]:
        """Return the events of the last run from `number` on; none if `run` is another run."""
        return self._sender.events_from(number) if run == self._run else ()
