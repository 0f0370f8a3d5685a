"""What a kernel that attaches to a run does with events from before it attached. Pure: no clock, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modal_gpu_magic.wire.messages.events import Event

SHOWN_KINDS = frozenset(
    {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output", "rank", "note"}
)
"""Kinds of events that a kernel which attaches to a run may skip: what the cell has shown before."""
JUST_ATTACHED_SECONDS = 1.0
"""Seconds after the log was read in which an answer arrives that was there before."""


class OldEvents:
    """Decides which events from before this kernel attached are shown, and which question of them is asked.

    Args:
        attaches: another kernel has sent the run; else no event is old.
        skips: old output is not shown.

    Attributes:
        are_arriving: whether the events that arrive are old.
    """

    def __init__(self, *, attaches: bool, skips: bool) -> None:
        self.are_arriving = attaches
        self._attaches, self._skips = attaches, skips
        self._arrived_at: float | None = None
        """When all old events had arrived, seconds of the monotonic clock; None: not yet."""
        self._question: dict[str, Any] | None = None
        """A question of the cell without an answer."""

    def hides(self, event: Event) -> bool:
        """Whether an event that arrives is not shown."""
        return self.are_arriving and self._skips and event.kind in SHOWN_KINDS

    def hold(self, question: dict[str, Any]) -> bool:
        """Keep a question while old events arrive: another kernel may have brought the answer.

        Returns:
            Whether the question is kept; else it is to be asked now.
        """
        if self.are_arriving:
            self._question = question
        return self.are_arriving

    def was_answered(self) -> None:
        """Give up the question that is kept."""
        self._question = None

    def all_arrived(self, now: float) -> dict[str, Any] | None:
        """Note that all old events have arrived at `now`, seconds of the monotonic clock.

        Returns:
            The question that is to be asked now; None: no question is kept.
        """
        self.are_arriving, self._arrived_at = False, now
        question, self._question = self._question, None
        return question

    def may_include_answer(self, now: float) -> bool:
        """Whether an answer that arrives at `now`, seconds of the monotonic clock, may have been made before."""
        is_new = self._arrived_at is not None and now > self._arrived_at + JUST_ATTACHED_SECONDS
        return self._attaches and not is_new
