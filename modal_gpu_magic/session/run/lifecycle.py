"""The life of a run as the kernel sees it: one table of transitions, and one of time limits. Pure, without a clock.

`session.run.pump` feeds the messages of a run to a `Lifecycle` and carries out the actions that it returns.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STOP_HINT, STOP_LIMIT = 2.0, 30.0
"""Seconds after the first ■ until the hint about a second ■ is shown, and until the container is terminated."""
DEAF_LIMIT = 12.0
"""Seconds after a ■ until a container is terminated that has not said that the ■ has arrived: it is damaged."""
SAME_PRESS = 1.5
"""Seconds after a ■ in which another ■ is ignored: a double click, or one Stop delivered twice."""
UNBEGUN_GRACE = 0.5
"""Seconds until a stopped run counts as not begun, or its container is asked. Most answers arrive earlier."""
UNBEGUN_LIMIT = 1.5
"""Seconds after a stop until the prompt returns if the start of the cell is unconfirmed. The next cell asks again."""
KILL_LIMIT = 1.5
"""Seconds after the termination of the container until the run counts as lost, without an answer of the server."""
DRAIN_LIMIT = 3.0
"""Seconds to wait for events in transit after the end of the run is known. What is missing then is asked for again."""
LOST_LIMIT = 20.0
"""The same, where the container has died: nothing can be asked for again. A marker behind the events ends the wait."""
TIMEOUT_GRACE = 15.0
"""Seconds after the cell's timeout until the client terminates a container whose watchdog has not stopped the cell."""


class Life(enum.Enum):
    """The states of a run."""

    WAITING = "sent, or about to be sent; the cell has not begun"
    RUNNING = "the cell has begun"
    STOPPING = "stopped; the cell has not been seen to begin"
    INTERRUPTED = "stopped while the cell runs"
    UNSEEN = "stopped, and the call has ended; the container knows whether the cell began"
    COLD = "stopped, and the call has ended; no container is known that could be asked"
    UNHEARD = "as COLD, and no event of the run is on its way"
    CANCELLED = "stopped, and the call has ended; the cell had begun, and its answer is on its way as an event"
    KILLING = "the container is being terminated"
    KILLED = "the container is being terminated, and the call has ended"
    LOST = "the call has failed; the last events are on their way"
    ELSEWHERE = "another node of the cluster has failed; the last events are on their way"
    RETURNED = "the answer has come; the last events are on their way"
    OVER = "nothing more is awaited"


class Message(enum.Enum):
    """What may happen to a run."""

    BEGUN = "user code has begun"
    RESULT = "the call has returned the answer"
    COMPLETE = "all events that the answer counts have arrived"
    END = "an event has brought the answer"
    END_ELSEWHERE = "another node of the cluster has reported its end"
    FAILED = "the call has ended without an answer"
    FAILED_COLD = "the call has ended without an answer, and no container is known that could be asked"
    UNSENT = "the call was never sent"
    UNREACHABLE = "the backend was given up"
    DRAINED = "the marker behind the last event has arrived"
    NEVER = "the container says that the cell did not begin and never will"
    GONE = "another container answers: the container of the cell has ended"
    PRESS = "the user has pressed ■"
    HINT = "the limit for the hint has passed"
    HEARD = "the container says that the ■ has arrived"
    DEAF = "the limit for that has passed"
    ASK = "the limit for the answer of a stopped run has passed"
    LATE = "the limit of the state has passed"
    TIMEOUT = "the cell's timeout and its grace have passed"


class Action(enum.Enum):
    """What the pump does after a transition."""

    NOTHING = "nothing"
    CANCEL = "cancel the call"
    TERMINATE = "cancel the call and terminate its container"
    DRAIN = "put the marker behind the last event"
    ASK = "ask the container how the run ended"
    HINT = "say that a second ■ ends the container"


class Since(enum.Enum):
    """What a limit counts from."""

    ENTRY = "the state was entered"
    PRESS = "the last ■, or the termination"
    BEGIN = "the cell began"


@dataclass(frozen=True, slots=True)
class Limit:
    """A time limit of a state. Each message of a limit arises once in a run's state."""

    seconds: float
    since: Since
    message: Message


def _rows() -> dict[tuple[Life, Message], tuple[Life, Action]]:
    """Return the transitions: (state, message) → (state, action). A message without a row is out of date."""
    state, message, action = Life, Message, Action
    none = action.NOTHING
    rows: dict[tuple[Life, Message], tuple[Life, Action]] = {
        (state.WAITING, message.BEGUN): (state.RUNNING, none),
        (state.WAITING, message.PRESS): (state.STOPPING, action.CANCEL),
        (state.RUNNING, message.PRESS): (state.INTERRUPTED, action.CANCEL),
        (state.RUNNING, message.TIMEOUT): (state.KILLING, action.TERMINATE),
        # Stopped.
        (state.STOPPING, message.BEGUN): (state.INTERRUPTED, none),
        (state.STOPPING, message.PRESS): (state.KILLING, action.TERMINATE),
        (state.STOPPING, message.FAILED): (state.UNSEEN, action.DRAIN),
        (state.STOPPING, message.FAILED_COLD): (state.COLD, action.DRAIN),
        (state.STOPPING, message.LATE): (state.OVER, none),
        (state.INTERRUPTED, message.HINT): (state.INTERRUPTED, action.HINT),
        (state.INTERRUPTED, message.PRESS): (state.KILLING, action.TERMINATE),
        (state.INTERRUPTED, message.LATE): (state.KILLING, action.TERMINATE),
        (state.INTERRUPTED, message.DEAF): (state.KILLING, action.TERMINATE),
        (state.INTERRUPTED, message.FAILED): (state.CANCELLED, action.DRAIN),
        (state.INTERRUPTED, message.FAILED_COLD): (state.CANCELLED, action.DRAIN),
        # Stopped, and the call has ended.
        (state.UNSEEN, message.ASK): (state.UNSEEN, action.ASK),
        (state.UNSEEN, message.BEGUN): (state.CANCELLED, none),
        (state.UNSEEN, message.LATE): (state.OVER, none),
        (state.UNSEEN, message.PRESS): (state.KILLED, action.TERMINATE),
        (state.COLD, message.DRAINED): (state.UNHEARD, none),
        (state.COLD, message.BEGUN): (state.CANCELLED, none),
        (state.COLD, message.LATE): (state.OVER, none),
        (state.COLD, message.PRESS): (state.KILLED, action.TERMINATE),
        (state.UNHEARD, message.LATE): (state.OVER, none),
        (state.CANCELLED, message.ASK): (state.CANCELLED, action.ASK),
        (state.CANCELLED, message.HINT): (state.CANCELLED, action.HINT),
        (state.CANCELLED, message.PRESS): (state.KILLED, action.TERMINATE),
        (state.CANCELLED, message.LATE): (state.KILLED, action.TERMINATE),
        (state.CANCELLED, message.DEAF): (state.KILLED, action.TERMINATE),
        (state.KILLING, message.FAILED): (state.KILLED, action.DRAIN),
        (state.KILLING, message.FAILED_COLD): (state.KILLED, action.DRAIN),
        # The last events.
        (state.ELSEWHERE, message.FAILED): (state.ELSEWHERE, action.DRAIN),
        (state.ELSEWHERE, message.FAILED_COLD): (state.ELSEWHERE, action.DRAIN),
        (state.RETURNED, message.COMPLETE): (state.OVER, none),
    }
    for begun in (state.WAITING, state.RUNNING):
        rows[begun, message.FAILED] = rows[begun, message.FAILED_COLD] = (state.LOST, action.DRAIN)
        rows[begun, message.END_ELSEWHERE] = (state.ELSEWHERE, none)
    for ended in (state.KILLED, state.LOST, state.ELSEWHERE):
        rows[ended, message.DRAINED] = (state.OVER, none)
    for last in (state.KILLING, state.KILLED, state.LOST, state.ELSEWHERE, state.RETURNED):
        rows[last, message.LATE] = (state.OVER, none)
    for alive in [each for each in state if each not in (state.RETURNED, state.OVER)]:
        rows[alive, message.RESULT] = (state.RETURNED, none)
        rows[alive, message.END] = (state.OVER, none)
        rows[alive, message.UNREACHABLE] = (state.OVER, none)
        rows[alive, message.UNSENT] = (state.OVER, none)
        rows[alive, message.NEVER] = (state.OVER, none)
        rows[alive, message.GONE] = (state.OVER, none)
    return rows


TRANSITIONS: Final[Mapping[tuple[Life, Message], tuple[Life, Action]]] = _rows()

_HINT = Limit(STOP_HINT, Since.PRESS, Message.HINT)
_STOP = Limit(STOP_LIMIT, Since.PRESS, Message.LATE)
_DEAF = Limit(DEAF_LIMIT, Since.PRESS, Message.DEAF)
_ASK = Limit(UNBEGUN_GRACE, Since.ENTRY, Message.ASK)
_UNBEGUN = Limit(UNBEGUN_LIMIT, Since.PRESS, Message.LATE)
_KILL = Limit(KILL_LIMIT, Since.PRESS, Message.LATE)
_DRAIN = Limit(DRAIN_LIMIT, Since.ENTRY, Message.LATE)
_LOST = Limit(LOST_LIMIT, Since.ENTRY, Message.LATE)

LIMITS: Final[Mapping[Life, tuple[Limit, ...]]] = {
    Life.WAITING: (),
    Life.RUNNING: (),
    Life.STOPPING: (_UNBEGUN,),
    Life.INTERRUPTED: (_HINT, _DEAF, _STOP),
    Life.UNSEEN: (_ASK, _UNBEGUN),
    Life.COLD: (_UNBEGUN,),
    Life.UNHEARD: (Limit(UNBEGUN_GRACE, Since.PRESS, Message.LATE),),
    Life.CANCELLED: (_ASK, _HINT, _DEAF, _STOP),
    Life.KILLING: (_KILL,),
    Life.KILLED: (_KILL,),
    Life.LOST: (_LOST,),
    Life.ELSEWHERE: (_LOST,),
    Life.RETURNED: (_DRAIN,),
    Life.OVER: (),
}
"""The limits of each state. RUNNING has one more, if the cell has a timeout."""


class Lifecycle:
    """The life of one run.

    Args:
        now: the time at which the run is sent, seconds of a monotonic clock.
        timeout: the cell's timeout, seconds; None: none.

    Attributes:
        state: the current state.
        presses: the number of ■ that counted.
        begun: whether user code has begun.
        terminated: whether the container was terminated, or has ended by itself while the cell was stopped.
        timed_out: whether the container was terminated because its watchdog had not held the timeout.
    """

    def __init__(self, now: float, timeout: float | None = None) -> None:
        self.state = Life.WAITING
        self.presses = 0
        self.begun = self.terminated = self.timed_out = False
        grace = () if not timeout else (Limit(timeout + TIMEOUT_GRACE, Since.BEGIN, Message.TIMEOUT),)
        self._limits = {**LIMITS, Life.RUNNING: grace}
        self._times = dict.fromkeys(Since, now)
        self._fired: set[Message] = set()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is awaited."""
        return self.state is Life.OVER

    def receive(self, message: Message, now: float) -> Action:
        """Change the state by a message; return what to do."""
        if message is Message.PRESS and self.presses and now < self._times[Since.PRESS] + SAME_PRESS:
            return Action.NOTHING
        self._note(message, now)
        state, action = TRANSITIONS.get((self.state, message), (self.state, Action.NOTHING))
        if state is not self.state:
            self.state, self._times[Since.ENTRY] = state, now
            self._fired -= {Message.LATE}
        if action is Action.TERMINATE:
            self.terminated, self._times[Since.PRESS] = True, now
        return action

    def due(self, now: float) -> Iterator[Message]:
        """Yield the messages of limits that have passed. The state may change between two of them."""
        for limit in self._limits[self.state]:
            if limit.message not in self._fired and now > self._times[limit.since] + limit.seconds:
                self._fired.add(limit.message)
                yield limit.message

    def seconds_left(self, now: float) -> float:
        """Return the seconds until the next limit; infinite: the state has none that can still pass."""
        left = (
            self._times[limit.since] + limit.seconds - now
            for limit in self._limits[self.state]
            if limit.message not in self._fired
        )
        return max(0.0, min(left, default=float("inf")))

    def _note(self, message: Message, now: float) -> None:
        match message:
            case Message.PRESS:
                self.presses += 1
                self._times[Since.PRESS] = now
            case Message.BEGUN:
                self.begun = True
                self._times[Since.BEGIN] = now
            case Message.HEARD:
                self._fired.add(Message.DEAF)
            case Message.TIMEOUT:
                self.timed_out = True
            case Message.GONE:
                self.terminated = True
            case _:
                pass
