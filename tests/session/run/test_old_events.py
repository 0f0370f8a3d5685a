"""What a kernel that attaches does with the events from before."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.session.run.old_events import JUST_ATTACHED_SECONDS, OldEvents
from modal_gpu_magic.wire.messages.events import Event, EventKind

QUESTION: dict[str, Any] = {"prompt": "name? ", "password": False}
NOW = 100.0


@pytest.mark.parametrize(
    "attaches, skips, kind, is_hidden",
    [
        (True, True, "stream", True),
        (True, True, "rank", True),
        (True, True, "started", False),
        (True, True, "sample", False),
        (True, True, "end", False),
        (True, False, "stream", False),
        (False, True, "stream", False),
    ],
)
def test_old_output_may_be_skipped_and_nothing_else(
    attaches: bool, skips: bool, kind: EventKind, is_hidden: bool
) -> None:
    old = OldEvents(attaches=attaches, skips=skips)
    assert old.hides(Event(0, kind, {})) is is_hidden
    old.all_arrived(NOW)
    assert not old.hides(Event(1, kind, {}))


def test_a_question_waits_until_all_that_is_old_has_come() -> None:
    old = OldEvents(attaches=True, skips=False)
    assert old.hold({"prompt": "before", "password": False})
    assert old.hold(QUESTION)
    assert old.are_arriving
    assert old.all_arrived(NOW) == QUESTION
    assert not old.are_arriving
    assert not old.hold(QUESTION), "a new one is asked at once"
    assert old.all_arrived(NOW) is None, "it is asked once"


def test_a_question_that_another_kernel_has_answered_is_not_asked() -> None:
    old = OldEvents(attaches=True, skips=False)
    old.hold(QUESTION)
    old.was_answered()
    assert old.all_arrived(NOW) is None


def test_the_kernel_that_has_sent_the_run_asks_at_once() -> None:
    assert not OldEvents(attaches=False, skips=False).hold(QUESTION)


@pytest.mark.parametrize(
    "attaches, after, expected",
    [
        (True, None, True),
        (True, 0.0, True),
        (True, JUST_ATTACHED_SECONDS, True),
        (True, JUST_ATTACHED_SECONDS + 0.1, False),
        (False, None, False),
        (False, 0.0, False),
    ],
)
def test_an_answer_may_be_old_until_shortly_after_the_log_was_read(
    attaches: bool,
    after: float | None,
    expected: bool,
) -> None:
    old = OldEvents(attaches=attaches, skips=False)
    if after is not None:
        old.all_arrived(NOW)
    assert old.may_include_answer(NOW + (after or 0.0)) is expected
