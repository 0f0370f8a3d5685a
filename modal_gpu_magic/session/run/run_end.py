"""How a run ends, from what its messages say to the facts that the session concludes from. Pure: no clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from modal_gpu_magic.errors import BackendLost
from modal_gpu_magic.wire.messages.events import Answer, Need


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

    @property
    def need(self) -> Need | None:
        """What the container needs before it can run the cell; None: nothing, or it has not answered."""
        return self.answer.need if self.answer is not None else None

    def lacks(self, reason: str) -> bool:
        """Whether the container has refused the run for this reason (`Need.reason`); no user code ran."""
        return self.need is not None and self.need.reason == reason


class RunEnd:
    """What the messages of a run have said about its end so far.

    Args:
        attaches: another kernel has sent the run: this kernel needs no values of the answer.

    Attributes:
        answer: the answer of the call or of the log. If `Answer.is_event`, it has no values: `whole_answer` has them.
        whole_answer: the answer of an event, or of the container that was asked.
        lost: the error that explains a missing answer.
        never_began: the container has said that the cell did not begin and never will.
    """

    def __init__(self, *, attaches: bool) -> None:
        self.answer: Answer | None = None
        self.whole_answer: Answer | None = None
        self.lost: BaseException | None = None
        self.never_began = False
        self._attaches = attaches
        self._answered_at: float | None = None
        self._lost_at: float | None = None

    def take(self, answer: Answer, at: float, *, is_whole: bool) -> None:
        """Note an answer; the first one says when the run ended. `at`: when it was made, seconds since the epoch."""
        if is_whole:
            self.whole_answer = answer
        else:
            self.answer = answer
        self._answered_at = self._answered_at or at

    def lose(self, error: BaseException, at: float) -> None:
        """Note an error of the call; the first one says when the run ended. `at`: seconds since the epoch."""
        self.lost, self._lost_at = error, self._lost_at or at

    @property
    def lacks_whole_answer(self) -> bool:
        """Whether the event with the whole answer has not arrived, so that only the container has the values."""
        return self._needs_whole_answer and self.whole_answer is None

    @property
    def final_answer(self) -> Answer | None:
        """The answer to conclude the run with; None: the answer, or its values, have not arrived."""
        return self.whole_answer if self._needs_whole_answer else self.answer or self.whole_answer

    @property
    def _needs_whole_answer(self) -> bool:
        return self.answer is not None and self.answer.is_event and not self._attaches

    def time_of(self, answer: Answer | None) -> float | None:
        """Return when the run ended with an answer, or without one; None: no message has said that."""
        return self._lost_at if answer is None else self._answered_at

    def is_crash(self, answer: Answer | None, *, stopped: bool) -> bool:
        """Whether a run that ends with `answer` ends by a crash of its container: Modal's log may hold the cause."""
        return answer is None and not stopped and self.lost is not None and not isinstance(self.lost, BackendLost)
