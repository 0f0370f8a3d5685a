"""What a run says to whoever shows it: one small protocol; the notebook, the terminal and a silent front have it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from modal_gpu_magic.wire.messages.log import weigh

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.receipt import Receipt
    from modal_gpu_magic.wire.messages.events import Event

Phase = Literal[
    "connecting", "building", "sending", "waiting", "starting", "running", "restarted", "stopping", "copying"
]


@dataclass(frozen=True, slots=True)
class State:
    """Where a run stands: the phase, what it is about (`H100:2`), and seconds since the phase began.

    `detail` is what is known of why it is so, and what would help; often nothing.
    """

    phase: Phase
    subject: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a run before it begins.

    Attributes:
        asked: the specs of the header, `H100:2 A100-80GB`; `CPU` without any.
        backend: `cloud` or `local`. simulated: its GPUs are not real.
        hourly: USD an hour of its containers; None: not known. nodes: containers of it.
        spent: USD of the session's containers before it, their idling included; None: not known.
    """

    asked: str
    backend: str
    simulated: bool = False
    hourly: float | None = None
    nodes: int = 1
    spent: float | None = 0.0


class Front(Protocol):
    """Shows a run. Every method is called on the thread that runs the cell, in order."""

    def begin(self, about: About, press: Callable[[], None]) -> None:
        """A run begins. `press` does what ■ does, from any thread."""

    def show(self, state: State) -> None:
        """The run is (still) in this state; called at every change and once a second."""

    def event(self, event: Event) -> None:
        """Something the cell put out, in the form of one of Jupyter's iopub messages."""

    def sample(self, reading: Reading) -> None:
        """What nvidia-smi said of the GPUs, about once a second."""

    def say(self, text: str) -> None:
        """A line of ours: a notice, a warning."""

    def ask(self, prompt: str, *, password: bool) -> str:
        """The cell's `input()`; returns what was typed."""

    def finished(self, receipt: Receipt) -> None:
        """The run is over; the last call."""

    def settled(self, text: str) -> None:
        """What goes on from here (a service): the last call, in the place of a receipt."""

    def broke_off(self, outcome: str) -> None:
        """It `failed` or was `stopped` before there was a run to give a receipt of: the last call; an error follows."""


READINGS = 3600
"""Readings that a silent front keeps: an hour's."""
EVENT_BYTES = 64 << 20
"""Bytes of output that a silent front keeps. Beyond them the oldest events go."""
NOTES = 1000
"""Lines of ours that a silent front keeps."""


class SilentFront:
    """Shows nothing and keeps the newest output of the cell, printed text in `text`; for plain Python and tests."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._event_bytes = 0
        self.readings: deque[Reading] = deque(maxlen=READINGS)
        self.notes: list[str] = []
        self.receipt: Receipt | None = None
        self.about: About | None = None

    def begin(self, about: About, press: Callable[[], None]) -> None:  # noqa: ARG002 - Front's
        """Keep it."""
        self.about = about

    @property
    def text(self) -> str:
        """The newest of what the cell printed, stdout and stderr in order."""
        return "".join(event.content["text"] for event in self.events if event.kind == "stream")

    def show(self, state: State) -> None:
        """Nothing."""

    def event(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)
        self._event_bytes += weigh(event.content)
        while self._event_bytes > EVENT_BYTES and len(self.events) > 1:
            self._event_bytes -= weigh(self.events.popleft().content)

    def sample(self, reading: Reading) -> None:
        """Keep it."""
        self.readings.append(reading)

    def say(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)
        del self.notes[:-NOTES]

    def ask(self, prompt: str, *, password: bool) -> str:  # noqa: ARG002 - Front's
        """Nobody is there."""
        raise EOFError(f"nobody can answer {prompt!r}")

    def finished(self, receipt: Receipt) -> None:
        """Keep it."""
        self.receipt = receipt

    def settled(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)

    def broke_off(self, outcome: str) -> None:
        """Nothing: the error says it."""
