"""Two memories whose cells are stopped: a signal is raised at a chosen line, in the kernel's half or the container's."""

from __future__ import annotations

import contextlib
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.process.interrupt import Interrupt
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.run.interrupts import Presses, Reading, was_pressed, whole
from modal_gpu_magic.session.values.sync import TransferOptions
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import Answer, Request
from modal_gpu_magic.wire.transfer import prepare
from modal_gpu_magic.wire.values.remote import RemoteValue, own_of
from tests.session.two_memories import TwoMemories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from modal_gpu_magic.session.values.sync import Outgoing
    from modal_gpu_magic.wire.transfer import Packed

OURS = ("/modal_gpu_magic/session/", "/modal_gpu_magic/container/", "/modal_gpu_magic/wire/", "/cloudpickle/")
CELL = "<cell>"


@dataclass(frozen=True, slots=True)
class Stop:
    """When \u25a0 is pressed: at the line with this number of the part of the cell's way. A part may have fewer lines.

    Attributes:
        part: `reading`, `arriving`, `running`, `leaving`, `coming home`, `fetching`.
        line: counted from 1, over all lines of ours that run in the part; in `running`, of the cell's own.
        loses: the answer gets lost, and the kernel asks for it before the next cell.
    """

    part: str = ""
    line: int = 0
    loses: bool = False


NEVER = Stop()


@contextlib.contextmanager
def pressed(stop: Stop, part: str, number: signal.Signals | None) -> Iterator[None]:
    """Raise the signal at the stop's line, if the stop is in this part. None: KeyboardInterrupt itself."""
    if stop.part != part:
        yield
        return
    left = [stop.line]

    def step(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            left[0] -= 1
            if left[0] == 0 and number is None:
                raise KeyboardInterrupt
            if left[0] == 0 and number is not None:
                signal.raise_signal(number)
        return step

    def enter(frame: FrameType, _event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        counts = name == CELL if part == "running" else any(each in name for each in OURS)
        return step if counts and left[0] > 0 else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


@dataclass(slots=True)
class StoppedMemories(TwoMemories):
    """A notebook in which remote cells, and fetches, may be stopped."""

    stop: Stop = NEVER
    outcomes: list[str] = field(default_factory=list)
    """What became of each remote cell: `not sent`, or the error that ended it."""
    _open: tuple[Outgoing, Packed, Answer] | None = None

    def native(self, source: str) -> None:
        """Run a cell in the kernel, and in the model. An answer that was lost has been asked for."""
        self._settle()
        TwoMemories.native(self, source)

    def fetch_all(self) -> None:
        """Bring all values to the kernel."""
        self._settle()
        TwoMemories.fetch_all(self)

    def remote(self, source: str) -> None:
        """Run a cell in the container, and in the model as far as the stop lets it run."""
        self._settle()
        names = analyse(source)
        try:
            with Presses() as presses, pressed(self.stop, "reading", signal.SIGINT):
                with Reading(presses.inbox):
                    outgoing = self.kernel.outgoing(names, TransferOptions())
                with Reading(presses.inbox):
                    packed = prepare(
                        outgoing.values,
                        self.here,
                        InlineStore(),
                        outgoing.hasher,
                        session="s",
                        table=self.kernel.table,
                    )
        except KeyboardInterrupt:
            self.outcomes.append("not sent")
            return
        self.sent.append(tuple(sorted(outgoing.values)))
        request = self._request(source, names, outgoing, packed)
        answer = self._there(request)
        self._open = outgoing, packed, answer
        if not self.stop.loses:
            self._settle()

    def _there(self, request: Request) -> Answer:
        """The container's half of a cell."""
        with Interrupt() as interrupt:
            with pressed(self.stop, "arriving", signal.SIGUSR1):
                failed = self.container.arrive(request, InlineStore(request.values.inline))
                assert not failed, failed
                before = self.container.before(request, InlineStore())
            outcome = "KeyboardInterrupt"
            with contextlib.suppress(KeyboardInterrupt), interrupt.window():
                outcome = self._run(request.source, self.there, signal.SIGUSR1)
            if not interrupt.asked or outcome != "KeyboardInterrupt" or self.stop.part == "running":
                model = self._model(request.source)
                assert model == outcome, (model, outcome, self.stop, interrupt.asked, request.source)
            self.outcomes.append(outcome)
            with pressed(self.stop, "leaving", signal.SIGUSR1):
                leaving = self.container.leave(request, before, (), 0.0, InlineStore())
        return self._answer(leaving)

    def _settle(self) -> None:
        """Take in the last answer; one that was lost is asked for now."""
        if self._open is None:
            return
        outgoing, packed, answer = self._open
        assert answer.values is not None
        with Presses() as presses, pressed(self.stop, "coming home", signal.SIGINT):
            self.kernel.sent(outgoing, packed)
            self.kernel.incoming(answer, InlineStore(dict(answer.values.inline)), self.fetch, 1, {})
        was_pressed(presses.inbox)
        self._open = None

    def fetch(self, value: RemoteValue) -> Any:
        """What `value.fetch()` does in a native cell; a stop may end it, and the user tries again."""
        self._settle()
        stops = [self.stop, NEVER] if self.stop.part == "fetching" else [NEVER]
        for stop in stops:
            names = self.kernel.stand_ins.to_fetch(value)
            if not names:  # its own value is current
                return own_of(value)[0]
            with contextlib.suppress(KeyboardInterrupt), pressed(stop, "fetching", signal.SIGINT):
                received = tuple(self.kernel.table.received)
                with Interrupt():
                    forgot = self.kernel.table.forgotten()
                    transfer = self.container.take(names, InlineStore(), received, forgot)
                with whole():
                    return self.kernel.fetched(names[0], value, transfer, InlineStore(dict(transfer.inline)))
        raise AssertionError(value)

    def _model(self, source: str) -> str:
        """The same cell in the model, stopped at the same line."""
        try:
            return self._run(source, self.model, None)
        except KeyboardInterrupt:
            return "KeyboardInterrupt"

    def _run(self, source: str, namespace: dict[str, Any], number: signal.Signals | None) -> str:
        try:
            with pressed(self.stop, "running", number):
                exec(compile(source, CELL, "exec"), namespace)
        except Exception as error:  # noqa: BLE001 - cells may fail, alike in all memories
            return type(error).__name__
        return ""
