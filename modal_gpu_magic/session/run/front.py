"""The protocol between a run and the front that shows it: notebook, terminal or silent front."""

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
    "queued",
    "connecting",
    "building",
    "sending",
    "waiting",
    "starting",
    "restoring",
    "installing",
    "starting ranks",
    "running",
    "saving",
    "restarted",
    "stopping",
    "copying",
    "reconnecting",
]


BEFORE_CELL = "before the cell ran"
"""When a run ended that has not reached the cell."""


@dataclass(frozen=True, slots=True)
class State:
    """The state of a run.

    Attributes:
        phase: the current phase.
        subject: the object of the phase: the machine `H100:2`, the packages that are installed, `8 ranks`.
        seconds: time since the phase began, seconds.
        detail: the known reason of a long phase, and a remedy; often empty.
        cost: estimated cost of the run so far, USD; None: not known.
        hourly: what the run adds now, USD per hour; 0 while it waits; None: not known.
    """

    phase: Phase
    subject: str
    seconds: float
    detail: str = ""
    cost: float | None = None
    hourly: float | None = None


@dataclass(frozen=True, slots=True)
class About:
    """Facts of a run that are known before it begins.

    Attributes:
        asked: the specs of the header, `H100:2 A100-80GB`; `CPU` without any.
        backend: `cloud` or `local`.
        simulated: whether the GPUs are simulated.
        hourly: price of the containers, USD per hour; None: not known.
        nodes: number of containers.
        spent: cost of the session's containers before the run, idle time included, USD; None: not known.
        session: name of a detached session; empty: the session ends with the kernel.
        run: the id of its run; empty: the session is attached to, and its last run is shown.
    """

    asked: str
    backend: str
    simulated: bool = False
    hourly: float | None = None
    nodes: int = 1
    spent: float | None = 0.0
    session: str = ""
    run: str = ""


class Front(Protocol):
    """Shows a run. Every method is called on the thread that runs the cell, in order."""

    def begin(self, about: About, press: Callable[[], None]) -> None:
        """Begin a run. `press` stops the run as ■ does; callable from any thread."""

    def show(self, state: State) -> None:
        """Show the state of the run; called at every change and once a second."""

    def event(self, event: Event) -> None:
        """Show an output of the cell, an event in the form of a Jupyter iopub message."""

    def sample(self, reading: Reading) -> None:
        """Show a reading of the GPUs by nvidia-smi, about once a second."""

    def say(self, text: str) -> None:
        """Show a notice or a warning of this package."""

    def ask(self, prompt: str, *, password: bool) -> str:
        """Ask the user for the cell's `input()`; return the typed text."""

    def finished(self, receipt: Receipt) -> None:
        """Show the receipt of the finished run; the last call."""

    def settled(self, text: str) -> None:
        """Show that a service is running; the last call, instead of `finished`."""

    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:
        """End a run without a receipt; the last call; an error follows. `outcome`: `failed` or `stopped`."""


class BackgroundFront(Front, Protocol):
    """Shows a background cell below that cell, from any thread; the notebook runs other cells meanwhile."""

    def failed(self, error: BaseException) -> None:
        """Show the error that ended the run, which no cell raises; the last call."""


READINGS = 3600
"""Maximum number of readings in a silent front: one hour."""
EVENT_BYTES = 64 << 20
"""Maximum size of the output in a silent front, bytes. The oldest events are removed first."""
NOTES = 1000
"""Maximum number of notices in a silent front."""


class SilentFront:
    """Shows nothing and stores the cell's newest output, with printed text in `text`; for plain Python and tests."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._event_bytes = 0
        self.readings: deque[Reading] = deque(maxlen=READINGS)
        self.notes: list[str] = []
        self.receipt: Receipt | None = None
        self.about: About | None = None

    def begin(self, about: About, press: Callable[[], None]) -> None:  # noqa: ARG002 - Front's
        """Store the facts of the run."""
        self.about = about

    @property
    def text(self) -> str:
        """The newest printed text of the cell, stdout and stderr in order."""
        return "".join(event.content["text"] for event in self.events if event.kind == "stream")

    def show(self, state: State) -> None:
        """Do nothing."""

    def event(self, event: Event) -> None:
        """Store an output of the cell."""
        self.events.append(event)
        self._event_bytes += weigh(event.content)
        while self._event_bytes > EVENT_BYTES and len(self.events) > 1:
            self._event_bytes -= weigh(self.events.popleft().content)

    def sample(self, reading: Reading) -> None:
        """Store a reading."""
        self.readings.append(reading)

    def say(self, text: str) -> None:
        """Store a notice."""
        self.notes.append(text)
        del self.notes[:-NOTES]

    def ask(self, prompt: str, *, password: bool) -> str:  # noqa: ARG002 - Front's
        """Raise EOFError: a silent front has no user."""
        raise EOFError(f"no front end can answer {prompt!r}")

    def finished(self, receipt: Receipt) -> None:
        """Store the receipt."""
        self.receipt = receipt

    def settled(self, text: str) -> None:
        """Store the sentence about the service."""
        self.notes.append(text)

    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:
        """Do nothing: an error follows."""
