"""Handle the messages of one run, in order, on the kernel's main thread, until the run ends.

A run ends in one of three ways: with the result; after a crash, with a marker queued behind the container's last event;
after a stop, with an `end` event that holds the whole answer (the server discards the result). DESIGN 4 and 15.
`session.run.lifecycle` has the states and the limits; the pump reads messages, shows events and sends requests.
"""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import BackendLost, KernelEnds, TransferError
from modal_gpu_magic.session.run.clocks import Timing
from modal_gpu_magic.session.run.event_order import EventOrder, Origin
from modal_gpu_magic.session.run.interrupts import Inbox, interruptible
from modal_gpu_magic.session.run.kernel_end import KERNEL_END
from modal_gpu_magic.session.run.lifecycle import Action, Lifecycle, Message
from modal_gpu_magic.session.run.old_events import OldEvents
from modal_gpu_magic.session.run.run_end import Ended, RunEnd
from modal_gpu_magic.session.run.shown_phase import ShownPhase
from modal_gpu_magic.session.run.threaded_requests import ThreadedRequests, text_within, wait_for
from modal_gpu_magic.session.run.waiting import queue_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modal_gpu_magic.sdk.app import Call
    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.status import Status
    from modal_gpu_magic.session.run.watch import Watch
    from modal_gpu_magic.wire.messages.events import Answer, Event, Frame
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


class Pump:
    """Takes in the messages of one run and carries out what follows from them, until the run ends (`run()`).

    Args:
        call: the run.
        inbox: its messages.
        front: shows its output, its phase and notes.
        watch: warns of idle and damaged GPUs.
        status: the session's status, with its meter.
        subject: the machine's title.
        timeout: the limit of the run, seconds; None: no limit.
        again: the cell began before, in a container that has ended.
        skips: old output of a run that another kernel has sent is not shown.
    """

    def __init__(
        self,
        call: Call,
        inbox: Inbox,
        front: Front,
        watch: Watch,
        status: Status,
        *,
        subject: str,
        timeout: float | None = None,
        again: bool = False,
        skips: bool = False,
    ) -> None:
        self.call, self.inbox, self.front = call, inbox, front
        self.watch, self.status, self.again = watch, status, again
        self.attaches = not call.has_values
        """Another kernel has sent the run."""
        self.requests = ThreadedRequests(call, inbox)
        self.order = EventOrder(attaches=self.attaches)
        self.old = OldEvents(attaches=self.attaches, skips=skips)
        self.timing = Timing(status.meter)
        self.life = Lifecycle(time.monotonic(), timeout)
        self.phase = ShownPhase(call.request, subject, front, status)
        self.began = self.ticked = self.log_read_at = time.monotonic()
        self.end = RunEnd(attaches=self.attaches)
        self._takers, self._handlers = self._event_takers(), self._message_handlers()

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
        return self._ended()

    @property
    def _has_all_old(self) -> bool:
        """Whether all that is old has arrived, or is not waited for: a cluster's logs come one after the other."""
        return not self.old.are_arriving or self.end.lost is not None or self.life.presses > 0

    def _feed(self, message: Message) -> None:
        """Change the run's state by a message, and do what follows."""
        match self.life.receive(message, time.monotonic()):
            case Action.CANCEL:
                self.call.cancel()
            case Action.TERMINATE:
                self.call.cancel(terminate=True)
            case Action.DRAIN:
                self.requests.put_marker()
            case Action.ASK if self._can_ask:
                self.requests.ask_for_end()
            case Action.HINT:
                self.front.say(STOP_SENT)
            case _:
                pass

    @property
    def _can_ask(self) -> bool:
        """Whether a container exists to be asked. Without one, the request would start a new container."""
        return self.life.begun or (self.call.request.generation is not None and self.call.app.machine.nodes == 1)

    # The end of the run.

    def _ended(self) -> Ended:
        """Show the output that has not arrived, and return how the run ended."""
        answer = self._whole_answer()
        # The error of a call comes at the first ■: a container that goes on is billed to its end, which is now.
        outlived = answer is None and self.life.terminated
        ended_at = time.time() if outlived else self.end.time_of(answer) or time.time()
        if answer is not None:
            self.timing.answered(answer, ended_at)
        else:
            self.timing.lost(ended_at, existed=self.life.begun)
        if self.ticked >= self.began + LIVE_SECONDS:
            self.phase.show()  # a live view ends with the figure of the receipt
        for event in self._missing(answer):
            self._event(event)
        stopped = self.life.presses > 0
        crashed = self.end.is_crash(answer, stopped=stopped)
        last_output = text_within(LOG_LIMIT, self.call.last_words) if crashed else ""
        if answer is not None and answer.failure is not None and GPU_FAULT in answer.failure.evalue:
            self._say(self.watch.log(text_within(LOG_LIMIT, self.call.app.log)))
        return Ended(
            answer=answer,
            lost=self.end.lost,
            stopped=stopped,
            terminated=self.life.terminated,
            timed_out=self.life.timed_out,
            ended_at=ended_at,
            began=self.life.begun,
            words=last_output,
            never_began=self.end.never_began or not self.call.sent or (answer is not None and answer.need is not None),
        )

    def _whole_answer(self) -> Answer | None:
        """Return the run's answer; ask the container for it if the event that has the answer was lost."""
        if self.end.lacks_whole_answer:
            try:
                wait_for(self._fetch_answer)
            except KeyboardInterrupt:
                self._press()
        return self.end.final_answer

    def _fetch_answer(self) -> None:
        try:
            self.end.whole_answer = self.call.ended()
        except Exception as error:  # noqa: BLE001 - the run is over; `conclude` raises the error
            self.end.lost = error

    def _missing(self, answer: Answer | None) -> tuple[Event, ...]:
        """Events that have not arrived: the tail inside the answer, and events that the queue lost."""
        if answer is None:
            return ()
        late = tuple(self.order.add(answer.tail))
        if self.order.next_number >= answer.events:
            return late
        try:
            events = self.call.app.replay(self.call.request.run, self.order.next_number)
        except Exception:  # noqa: BLE001 - only output is missing; the answer is complete
            self.front.say("Some lines of output were lost.")
            return late
        return (*late, *self.order.add(events))

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
            "refused": self._refuse,
            "result": self._result,
            "lost": self._lose,
            "outage": lambda _: self.phase.interrupt(OUTAGE),  # the run continues; its output and result come later
            "contact": lambda _: self.phase.resume(),
            "unanswered": self.front.say,
            "closed": lambda _: self._lose(BackendLost("the session was stopped while the cell ran.")),
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
        self._look_for_a_start()  # a press may come before Modal has the call

    def _frame(self, frame: Frame) -> None:
        origin = Origin.of(frame)
        self._follow(origin)
        self._take(origin, self.order.feed(origin, frame))

    def _segment(self, body: tuple[str, Segment]) -> None:
        """Take in a file of the run's log."""
        life, segment = body
        origin = Origin(life)
        self._follow(origin)
        self._take(origin, self.order.take(origin, segment))

    def _node_segment(self, body: tuple[str, str, Segment]) -> None:
        """Take in a file of the log of another node."""
        node, life, segment = body
        origin = Origin(life, node)
        self._take(origin, self.order.take(origin, segment))

    def _follow(self, origin: Origin) -> None:
        """Say if another container runs the cell from the start: Modal repeats an input after a preemption."""
        if self.order.follow(origin):
            self.front.say("The container was replaced by Modal: the cell began again.")
            self.watch.begin()
            self.timing.replaced()
            self.again = True

    def _take(self, origin: Origin, events: list[Event] | None) -> None:
        """Handle events in order. None: what arrived does not count."""
        if events is None:
            return
        for event in events:
            if origin.node is None:
                self._event(event)
            else:
                self._event_of_node(event, origin.life, origin.node)
        if origin.node is None:
            self.call.at(self.order.container, self.order.next_number, is_behind=self.order.is_behind)
        self._check_complete()

    def _check_complete(self) -> None:
        if self.end.answer is not None and self.order.has_all_posted(self.end.answer):
            self._feed(Message.COMPLETE)

    def _logged_end(self, answer: Answer) -> None:
        """Take in how the run ended from its log, which has no values: a kernel that attached needs none of it."""
        if self.attaches:
            self._result(answer)

    def _live(self, _: object) -> None:
        """All that is old has arrived."""
        question = self.old.all_arrived(time.monotonic())
        if question is not None and not self.life.is_over:
            self._ask(question)

    def _result(self, answer: Answer) -> None:
        self.end.take(answer, self._when(answer), is_whole=False)
        self._feed(Message.RESULT)
        self._check_complete()

    def _when(self, answer: Answer) -> float:
        """Return when an answer was made: now, or earlier if it was there before this kernel attached."""
        now = time.time()
        return min(now, answer.made_at) if self.old.may_include_answer(time.monotonic()) else now

    def _settled(self, answer: Answer | None) -> None:
        if answer is not None:
            self.end.whole_answer = self.end.whole_answer or answer
            self._feed(Message.END)
        elif self.life.begun:  # another container answered
            self._feed(Message.GONE)
        else:
            self.end.never_began = True
            self._feed(Message.NEVER)

    def _lose(self, error: BaseException) -> None:
        self.end.lose(error, time.time())
        self._look_for_the_mark()
        self._look_for_a_start()
        if isinstance(error, BackendLost):
            self._feed(Message.UNREACHABLE)
        elif not self.call.sent:
            self._feed(Message.UNSENT)
        else:
            self._feed(Message.FAILED if self._can_ask else Message.FAILED_COLD)

    def _refuse(self, error: BaseException) -> None:
        """Modal has refused a part of the request: the container, which waits for it, cannot begin the cell."""
        if self.life.begun:  # another container has begun it, from the parts of an earlier attempt
            self._lose(error)
            return
        refused = TransferError(f"Modal refused a part of the cell's request: {error}. The cell did not run.")
        self.end.lose(refused, time.time())
        self.end.never_began = True
        self._feed(Message.NEVER)

    def _press(self) -> None:
        if self.call.app.owner:
            self.phase.enter("stopping")
            if KERNEL_END.follows():
                self._lose(KernelEnds(LEAVES.format(self.call.app.session)))
                return
        self._feed(Message.PRESS)
        self.phase.enter("stopping")
        self._look_for_a_start()

    def _look_for_a_start(self) -> None:
        """Ask whether a container starts for a stopped run: it goes on, and then costs as long as it idles."""
        if self.life.presses and not self.life.begun:
            self.requests.ask_for_state()

    def _tick(self, _: object) -> None:
        now = self.ticked = time.monotonic()
        if now > self.began + UNHEARD_SECONDS:  # a C call that holds the GIL must not escape its timeout
            self._look_for_the_mark()
        self.phase.show()
        if self.phase.is_before_running:
            self.requests.ask_for_state()
        elif now > self.log_read_at + LOG_SECONDS:
            self.log_read_at = now
            self.requests.read_log()

    def _booting(self, _: object) -> None:
        if self.phase.name in ("waiting", "stopping") and not self.life.begun:
            self.timing.exists()
        if self.phase.name == "waiting":
            self.phase.enter("starting")

    def _queued(self, _: object) -> None:
        if self.phase.name == "sending":  # the container of the session has ended
            self.phase.enter("waiting")
        if self.phase.name == "waiting":
            self.timing.queued()
            self.phase.explain(queue_words(self.call.app.machine, self.call.app.backend.kind))

    # Handlers of events.

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
            "answered": lambda _: self.old.was_answered(),
        }

    def _event(self, event: Event) -> None:
        if self.old.hides(event):
            return
        if event.kind in ("started", "phase") and not self.life.is_over:
            self.timing.takes(event, self.order.container)
        if (take := self._takers.get(event.kind)) is not None:
            take(event)
            return
        self.front.event(event)
        self._say(self.watch.output(event))

    def _event_of_node(self, event: Event, life: str, node: str) -> None:
        """Handle an event of a node other than the first: output of its ranks, a sample, or its failure."""
        if event.kind in ("rank", "sample"):
            self._event(event)
        elif event.kind == "started":
            self.timing.takes(event, f"{node}/{life}", int(node))
        elif event.kind == "end" and self.end.whole_answer is None:
            self.end.take(event.content["answer"], time.time(), is_whole=True)
            self._feed(Message.END_ELSEWHERE)  # the node failed, and the other nodes are being terminated

    def _started(self, event: Event) -> None:
        self.call.knows(event.content["call"])
        self._begun()

    def _begun(self) -> None:
        self._feed(Message.BEGUN)
        self.log_read_at = time.monotonic()
        if self.life.is_over:  # the event came with the answer
            return
        if self.life.presses:
            self.phase.enter("stopping")
        elif self.again:
            self.phase.enter("restarted", f"It began again at {time.strftime('%H:%M')}, from its first line.")

    def _look_for_the_mark(self) -> None:
        """Take a mark in the shared store for the event `started`, which comes later or is lost with its container.

        Not once ■ was pressed: a stopped run that is not heard of returns the prompt, and the next cell asks about it.
        """
        store = self.call.app.store
        if self.life.begun or self.life.presses or store is None:
            return
        if store.is_marked(self.call.request.run):
            self.timing.exists()
            self._begun()
            if self.phase.is_before_running and self.call.request.distributed is None:
                self.phase.enter("running")

    def _show_phase(self, content: dict[str, Any]) -> None:
        """Show what the container does, unless the run has ended, or more must be said about it."""
        if not (self.life.is_over or self.life.presses or self.phase.name == "restarted"):
            self.phase.enter(content["phase"], subject=content["subject"])

    def _take_end(self, event: Event) -> None:
        answer: Answer = event.content["answer"]
        is_whole = self.attaches or not answer.is_event  # the log has no values: the container has them
        self.end.take(answer, self._when(answer), is_whole=is_whole)
        self._feed(Message.END)

    def _sample(self, event: Event) -> None:
        if self.attaches and not self.old.are_arriving:
            self._hear(event.content["time"])
        self.front.sample(self.watch.take(event))
        self._say(self.watch.sample())

    def _hear(self, sent: float) -> None:
        """Count the phase from its beginning, which was before this kernel attached."""
        since = self.timing.hears(sent, self.order.container)
        if since is not None and self.phase.name == "running":
            self.phase.began_at(since)

    def _question(self, question: dict[str, Any]) -> None:
        if not self.old.hold(question):
            self._ask(question)

    def _ask(self, question: dict[str, Any]) -> None:
        try:
            with interruptible():
                text = self.front.ask(question["prompt"], password=question["password"])
        except KeyboardInterrupt:
            self._press()
            return
        self.requests.answer(text)

    def _say(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.front.say(line)
