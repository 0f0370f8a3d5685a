"""Handle the messages of one run, in order, on the kernel's main thread, until the run ends.

A run ends in one of three ways: with the result; after a crash, with a marker queued behind the container's last event;
after a stop, with an `end` event that holds the whole answer (the server discards the result). DESIGN 4 and 15.
`session.run.lifecycle` has the states and the limits; the pump reads messages, shows events and sends requests.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import BackendLost, KernelEnds, TakenOver
from modal_gpu_magic.session.run.clocks import Timing
from modal_gpu_magic.session.run.interrupts import Inbox, interruptible
from modal_gpu_magic.session.run.kernel_end import KERNEL_END
from modal_gpu_magic.session.run.lifecycle import Action, Lifecycle, Message
from modal_gpu_magic.session.run.shown_phase import ShownPhase
from modal_gpu_magic.session.run.waiting import queue_words
from modal_gpu_magic.wire.messages.events import Answer, Event, Frame
from modal_gpu_magic.wire.messages.log import Assembler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modal_gpu_magic.sdk.app import Call
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.status import Status
    from modal_gpu_magic.session.run.watch import Watch
    from modal_gpu_magic.wire.messages.segments import Segment

UPDATE_SECONDS = 1.0
"""Seconds between two updates of the status line."""
LIVE_SECONDS = 2.0
"""Seconds after which a front may show a live view; the end of a shorter run opens none."""
UNHEARD_SECONDS = 10.0
"""Seconds without the event `started` after which the mark in the shared store is looked for."""
LOG_LIMIT = 3.0
"""Seconds to wait for the last output of a lost container in Modal's log."""
LOG_SECONDS = 60.0
"""Seconds between two reads of Modal's log while a cell runs. The log reports GPU faults."""
STOP_SENT = "Stop sent; the cell is still running. Stop again to end its container and lose its variables."
LEAVES = "the kernel ends, and session {0} runs on: `%modal_gpu attach {0}` continues it."
OUTAGE = "The run goes on; its output comes when the connection is back."
GPU_FAULT = "CUDA"
"""Marker in an error message after which the log is read: a GPU fault may have caused the error."""
SHOWN_KINDS = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output", "rank", "note"}
)
"""Kinds of events that a kernel which attaches to a run may skip: what the cell has shown before."""
JUST_ATTACHED_SECONDS = 1.0
"""Seconds after the log was read in which an answer arrives that was there before."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: with an answer, or with the error that explains the missing answer."""

    answer: Answer | None
    lost: BaseException | None
    stopped: bool
    terminated: bool
    timed_out: bool = False
    ended_at: float = 0.0
    """When the answer arrived or the container was lost, seconds since the epoch."""
    began: bool = False
    """Whether user code began. The container queues `started`, or marks the shared store, before it runs user code."""
    words: str = ""
    """The last output of a lost container in Modal's log."""
    never_began: bool = False
    """The cell did not begin and never will: the run was not sent, or the container refused it."""


class Pump:
    """Runs one call to its end (`run()`).

    `again`: the cell began before, in a container that has ended. `skips`: old output of a run that another kernel has
    sent is not shown.
    """

    def __init__(
        self,
        call: Call,
        inbox: Inbox,
        front: Front,
        subject: str,
        timeout: float | None,
        watch: Watch,
        status: Status,
        *,
        again: bool = False,
        skips: bool = False,
    ) -> None:
        self.call, self.inbox, self.front = call, inbox, front
        self.watch, self.status, self.again = watch, status, again
        self.timing = Timing(status.meter)
        self.life = Lifecycle(time.monotonic(), timeout)
        self.assembler = Assembler()
        self.others: dict[str, Assembler] = {}
        """Assemblers of the other nodes of a cluster, by node and container. Each container numbers its own events."""
        self.former: set[str] = set()
        """Lives of containers that Modal has replaced: what still arrives from them is out of date."""
        self.attaches = not call.has_values
        """Another kernel has sent the run."""
        self.is_old = self.attaches
        """Events are from before this kernel attached."""
        self.skips = skips
        self.live_at = 0.0
        """When all that is old had arrived, seconds of the monotonic clock; 0: not yet."""
        self.question: dict[str, Any] | None = None
        """A question from before, if it has no answer."""
        self.container = ""
        """The life of the container that the events come from; another one after a preemption."""
        self.answer: Answer | None = None
        self.end: Answer | None = None
        self.lost: BaseException | None = None
        self.never_began = False
        self.answered_at: float | None = None
        self.lost_at: float | None = None
        self.phase = ShownPhase(call.request, subject, front, status)
        self.began = self.ticked = self.log_read_at = time.monotonic()
        self.frames = 0
        self._takers, self._handlers = self._event_takers(), self._message_handlers()
        self._in_progress: set[str] = set()
        """Names of the requests to Modal in progress; a request of the same name is not started again."""

    def run(self) -> Ended:
        """Handle messages until the run is over."""
        self.status.enters(self.phase.name)
        while not (self.life.is_over and self._has_all_old):
            wait = min(UPDATE_SECONDS, self.life.seconds_left(time.monotonic()))
            try:
                kind, body = self.inbox.get(timeout=wait)
                self._handlers[kind](body)
            except queue.Empty:
                pass
            for message in self.life.due(time.monotonic()):
                self._feed(message)
            if time.monotonic() - self.ticked >= UPDATE_SECONDS:
                self._tick(None)
        answer = self._whole_answer()
        ended_at = (self.lost_at if answer is None else self.answered_at) or time.time()
        if answer is not None:
            self.timing.answered(answer, ended_at)
        else:
            self.timing.lost(ended_at, existed=self.life.begun)
        if self.ticked >= self.began + LIVE_SECONDS:
            self.phase.show()  # a live view ends with the figure of the receipt
        for event in self._missing(answer):
            self._event(event)
        last_output = self._read_log(self.call.last_words) if self._crashed(answer) else ""
        if answer is not None and answer.failure is not None and GPU_FAULT in answer.failure.evalue:
            self._say(self.watch.log(self._read_log(self.call.app.log)))
        return Ended(
            answer,
            self.lost,
            self.life.presses > 0,
            self.life.terminated,
            self.life.timed_out,
            ended_at,
            self.life.begun,
            last_output,
            self.never_began or not self.call.sent or (answer is not None and answer.need is not None),
        )

    @property
    def _has_all_old(self) -> bool:
        """Whether all that is old has arrived, or is not waited for: a cluster's logs come one after the other."""
        return not self.is_old or self.lost is not None or self.life.presses > 0

    def _whole_answer(self) -> Answer | None:
        """Return the run's answer; ask the container for it if the event that has the answer was lost."""
        if self.answer is None or not self.answer.is_event or not self.call.has_values:
            return self.answer or self.end
        if self.end is None:
            asking = threading.Thread(target=self._fetch_end, name="modal-gpu-request", daemon=True)
            asking.start()
            try:
                with interruptible():
                    asking.join()
            except KeyboardInterrupt:
                self._press()
        return self.end

    def _fetch_end(self) -> None:
        try:
            self.end = self.call.ended()
        except Exception as error:  # noqa: BLE001 - the run is over; `conclude` raises the error
            self.lost = error

    def _crashed(self, answer: Answer | None) -> bool:
        """Whether the container crashed, so that Modal's log may hold the cause."""
        return (
            answer is None
            and not self.life.presses
            and self.lost is not None
            and not isinstance(self.lost, BackendLost)
        )

    @staticmethod
    def _read_log(read: Callable[[], str]) -> str:
        """Read a text from Modal's log; empty if the read takes too long."""
        texts: list[str] = []
        thread = threading.Thread(target=lambda: texts.append(read()), daemon=True)
        thread.start()
        thread.join(LOG_LIMIT)
        return "".join(texts)

    def _feed(self, message: Message) -> None:
        """Change the run's state by a message, and do what follows."""
        match self.life.receive(message, time.monotonic()):
            case Action.CANCEL:
                self.call.cancel()
            case Action.TERMINATE:
                self.call.cancel(terminate=True)
            case Action.DRAIN:
                self._in_thread("flush", lambda: self.call.app.flush(self.call.request.run))
            case Action.ASK if self._can_ask:
                self._in_thread("ended", self._ask_the_container)
            case Action.HINT:
                self.front.say(STOP_SENT)
            case _:
                pass

    @property
    def _can_ask(self) -> bool:
        """Whether a container exists to be asked. Without one, the request would start a new container."""
        return self.life.begun or (self.call.request.generation is not None and self.call.app.machine.nodes == 1)

    def _ask_the_container(self) -> None:
        """Ask, in a thread, how the run ended: the server discarded the answer, or the cell had not begun."""
        try:
            answer = self.call.ended()
        except Exception:  # noqa: BLE001 - the cell continues, or its container ends: later messages say which
            return
        self.inbox.put(("settled", answer))

    def _settled(self, answer: Answer | None) -> None:
        if answer is not None:
            self.end = self.end or answer
            self._feed(Message.END)
        elif self.life.begun:  # another container answered
            self._feed(Message.GONE)
        else:
            self.never_began = True
            self._feed(Message.NEVER)

    def _missing(self, answer: Answer | None) -> tuple[Event, ...]:
        """Events that have not arrived: the tail inside the answer, and events that the queue lost."""
        if answer is None:
            return ()
        late = tuple(self.assembler.feed(Frame(self.call.request.run, answer.tail)))
        if self.assembler.next_number >= answer.events:
            return late
        try:
            events = self.call.app.replay(self.call.session, self.call.request.run, self.assembler.next_number)
        except Exception:  # noqa: BLE001 - only output is missing; the answer is complete
            self.front.say("Some lines of output were lost.")
            return late
        return (*late, *self.assembler.feed(Frame(self.call.request.run, events)))

    # Handlers of messages. Each takes the body of the message.

    def _message_handlers(self) -> dict[str, Callable[[Any], None]]:
        """What is done with the kinds of messages."""
        return {
            "spawned": self._spawned,
            "frame": self._frame,
            "segment": self._segment,
            "node_segment": self._node_segment,
            "logged_end": self._logged_end,
            "live": self._live,
            "taken": self._lose,
            "result": self._result,
            "lost": self._lose,
            "outage": self._outage,
            "contact": self._contact,
            "closed": self._closed,
            "flush": lambda _: self._feed(Message.DRAINED),
            "settled": self._settled,
            "press": lambda _: self._press(),
            "booting": self._booting,
            "queued": self._queued,
            "log": lambda text: self._say(self.watch.log(text)),
            "tick": self._tick,
            "opened": lambda _: None,  # the App was ready before the pump started
        }

    def _spawned(self, _: str) -> None:
        self.status.meter.spawned()
        if self.phase.name == "sending" and self.call.request.generation is None:
            self.phase.enter("waiting")

    def _frame(self, frame: Frame) -> None:
        _, *node, life = frame.run.split("/")
        if node:
            self.frames += 1
            self._take_of_node(node[0], life, self._of_node(node[0], life).feed(frame))
            return
        if not self._is_of(life):
            return
        self.frames += 1
        self._take(self.assembler.feed(frame))

    def _segment(self, body: tuple[str, Segment]) -> None:
        """Take in a file of the run's log. What has arrived before is not taken twice."""
        life, segment = body
        if self._is_of(life) and segment.first <= self.assembler.next_number:
            self._take(self.assembler.take(segment))

    def _is_of(self, life: str) -> bool:
        """Whether a container's events count: its run is the last one. Modal repeats an input after a preemption."""
        if life in self.former:
            return False
        if life != self.container:
            if self.container:
                self.former.add(self.container)
                self._restarted()
            self.container = life
        return True

    def _take(self, events: list[Event]) -> None:
        for event in events:
            self._event(event)
        self.call.at(self.container, self.assembler.next_number, is_behind=bool(self.assembler.missing))
        self._check_complete()

    def _logged_end(self, answer: Answer) -> None:
        """Take in how the run ended from its log, which has no values: a kernel that attached needs none of it."""
        if not self.call.has_values:
            self._result(answer)

    def _live(self, _: object) -> None:
        """All that is old has arrived."""
        self.is_old, self.live_at = False, time.monotonic()
        if self.question is not None and not self.life.is_over:
            question, self.question = self.question, None
            self._ask(question)

    def _restarted(self) -> None:
        """Another container runs the cell from the start; its events are numbered from zero again."""
        self.front.say("The container was replaced by Modal: the cell began again.")
        self.assembler, self.frames = Assembler(), 0
        self.watch.begin()
        self.timing.replaced()
        self.again = True

    def _node_segment(self, body: tuple[str, str, Segment]) -> None:
        """Take in a file of the log of another node."""
        node, life, segment = body
        assembler = self._of_node(node, life)
        if segment.first <= assembler.next_number:
            self._take_of_node(node, life, assembler.take(segment))

    def _of_node(self, node: str, life: str) -> Assembler:
        return self.others.setdefault(f"{node}/{life}", Assembler())

    def _take_of_node(self, node: str, life: str, events: list[Event]) -> None:
        """Handle events of a node other than the first: output of its ranks, samples, and its failure."""
        for event in events:
            if event.kind in ("rank", "sample"):
                self._event(event)
            elif event.kind == "started":
                self.timing.takes(event, f"{node}/{life}", int(node))
            elif event.kind == "end" and self.end is None:
                self.end, self.answered_at = event.content["answer"], self.answered_at or time.time()
                self._feed(Message.END_ELSEWHERE)  # the node failed, and the other nodes are being terminated
        self._check_complete()

    def _event(self, event: Event) -> None:
        if self.is_old and self.skips and event.kind in SHOWN_KINDS:
            return
        if event.kind in ("started", "phase") and not self.life.is_over:
            self.timing.takes(event, self.container)
        if (take := self._takers.get(event.kind)) is not None:
            take(event)
            return
        self.front.event(event)
        self._say(self.watch.output(event))

    def _event_takers(self) -> dict[str, Callable[[Event], None]]:
        """What is done with the kinds of events that are no output."""
        return {
            "started": self._started,
            "phase": lambda event: self._show_phase(event.content),
            "end": self._take_end,
            "stopping": lambda _: self._feed(Message.HEARD),
            "note": lambda event: self.front.say(event.content["text"]),
            "sample": self._sample,
            "input_request": lambda event: self._question(event.content),
            "answered": lambda _: self._question(None),
        }

    def _started(self, event: Event) -> None:
        self.call.knows(event.content["call"])
        self._begun()

    def _take_end(self, event: Event) -> None:
        answer: Answer = event.content["answer"]
        if answer.is_event and self.call.has_values:  # from the log, which has no values: the container has them
            self.answer = answer
        else:
            self.end = answer
        self.answered_at = self.answered_at or self._when(answer)
        self._feed(Message.END)

    def _sample(self, event: Event) -> None:
        if self.attaches and not self.is_old:
            self._hear(event.content["time"])
        self.front.sample(self.watch.take(event))
        self._say(self.watch.sample())

    def _hear(self, sent: float) -> None:
        """Count the phase from its beginning, which was before this kernel attached."""
        since = self.timing.hears(sent, self.container)
        if since is not None and self.phase.name == "running":
            self.phase.began_at(since)

    def _question(self, question: dict[str, Any] | None) -> None:
        """Ask the user, or once all that is old has arrived: another kernel may have brought the answer."""
        if self.is_old or question is None:
            self.question = question
        else:
            self._ask(question)

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.front.say(line)

    def _look_for_the_mark(self) -> None:
        """Take a mark in the shared store for the event `started`, which comes later or is lost with its container.

        Not once ■ was pressed: a stopped run that is not heard of returns the prompt, and the next cell asks about it.
        """
        store = self.call.app.store(self.call.session)
        if self.life.begun or self.life.presses or store is None:
            return
        if store.is_marked(self.call.request.run):
            self.timing.exists()
            self._begun()
            if self.phase.is_before_running and self.call.request.distributed is None:
                self.phase.enter("running")

    def _begun(self) -> None:
        self._feed(Message.BEGUN)
        self.log_read_at = time.monotonic()
        if self.life.is_over:  # the event came with the answer
            return
        if self.life.presses:
            self.phase.enter("stopping")
        elif self.again:
            self.phase.enter("restarted", f"It began again at {time.strftime('%H:%M')}, from its first line.")

    def _show_phase(self, content: dict[str, Any]) -> None:
        """Show what the container does, unless the run has ended, or more must be said about it."""
        if not (self.life.is_over or self.life.presses or self.phase.name == "restarted"):
            self.phase.enter(content["phase"], subject=content["subject"])

    def _ask(self, question: dict[str, Any]) -> None:
        try:
            with interruptible():
                text = self.front.ask(question["prompt"], password=question["password"])
        except KeyboardInterrupt:
            self._press()
            return
        self._in_thread(f"answer {time.monotonic()}", lambda: self._answer(text))

    def _answer(self, text: str) -> None:
        """Send the answer to a question, in a thread."""
        with contextlib.suppress(TakenOver):  # the reader of the log reports it
            self.call.app.answer(self.call.request.run, text)

    def _result(self, answer: Answer) -> None:
        self.answer, self.answered_at = answer, self.answered_at or self._when(answer)
        self._feed(Message.RESULT)
        self._check_complete()

    def _when(self, answer: Answer) -> float:
        """Return when an answer was made: now, or earlier if it was there before this kernel attached."""
        now = time.time()
        is_new = self.live_at and time.monotonic() > self.live_at + JUST_ATTACHED_SECONDS
        return now if self.call.has_values or is_new else min(now, answer.made_at)

    def _check_complete(self) -> None:
        if self.answer is None:
            return
        posted = self.answer.tail[0].number if self.answer.tail else self.answer.events
        has_all = self.assembler.next_number >= posted and (self.attaches or not self.others)
        if has_all or (self.call.has_values and self.frames >= self.answer.frames):
            self._feed(Message.COMPLETE)

    def _lose(self, error: BaseException) -> None:
        self.lost, self.lost_at = error, self.lost_at or time.time()
        self._look_for_the_mark()
        if isinstance(error, BackendLost):
            self._feed(Message.UNREACHABLE)
        elif not self.call.sent:
            self._feed(Message.UNSENT)
        else:
            self._feed(Message.FAILED if self._can_ask else Message.FAILED_COLD)

    def _closed(self, _: object) -> None:
        self._lose(BackendLost("the session was stopped while the cell ran."))

    def _press(self) -> None:
        if self.call.app.owner:
            self.phase.enter("stopping")
            if KERNEL_END.follows():
                self._lose(KernelEnds(LEAVES.format(self.call.session)))
                return
        self._feed(Message.PRESS)
        self.phase.enter("stopping")

    def _tick(self, _: object) -> None:
        now = self.ticked = time.monotonic()
        if now > self.began + UNHEARD_SECONDS:  # a C call that holds the GIL must not escape its timeout
            self._look_for_the_mark()
        self.phase.show()
        if self.phase.is_before_running:
            self._in_thread("poll", self._poll)
        elif now > self.log_read_at + LOG_SECONDS:
            self.log_read_at = now
            self._in_thread("log", lambda: self.inbox.put(("log", self.call.app.log())))

    def _outage(self, _: object) -> None:
        """Show that events do not arrive; the run goes on, and its output and result come later."""
        self.phase.interrupt(OUTAGE)

    def _contact(self, _: object) -> None:
        self.phase.resume()

    def _poll(self) -> None:
        running = self.call.running() if self.call.id is not None else None
        if running is not None:
            self.inbox.put(("booting" if running else "queued", None))

    def _booting(self, _: object) -> None:
        if self.phase.name == "waiting":
            self.timing.exists()
            self.phase.enter("starting")

    def _queued(self, _: object) -> None:
        if self.phase.name == "sending":  # the container of the session has ended
            self.phase.enter("waiting")
        if self.phase.name == "waiting":
            self.timing.queued()
            self.phase.explain(queue_words(self.call.app.machine, self.call.app.backend.kind))

    def _in_thread(self, name: str, action: Callable[[], None]) -> None:
        """Run `action` in a thread, unless a thread for `name` is still running: a network may stall for minutes."""
        if name in self._in_progress:
            return
        self._in_progress.add(name)

        def run() -> None:
            try:
                action()
            finally:
                self._in_progress.discard(name)

        threading.Thread(target=run, name="modal-gpu-request", daemon=True).start()
