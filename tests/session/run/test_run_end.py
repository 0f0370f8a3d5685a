"""How a run ends, by what its messages have said."""

from __future__ import annotations

import pytest

from modal_gpu_magic.errors import BackendLost, MachineError
from modal_gpu_magic.session.run.run_end import RunEnd
from modal_gpu_magic.wire.messages.events import Answer

RESULT = Answer("result", "1")
WHOLE = Answer("whole", "1")
VALUES_ELSEWHERE = Answer("log", "1", is_event=True)


@pytest.mark.parametrize(
    "attaches, answer, whole, final, lacks",
    [
        (False, None, None, None, False),
        (False, RESULT, None, RESULT, False),
        (False, RESULT, WHOLE, RESULT, False),
        (False, None, WHOLE, WHOLE, False),
        (False, VALUES_ELSEWHERE, None, None, True),
        (False, VALUES_ELSEWHERE, WHOLE, WHOLE, False),
        (True, VALUES_ELSEWHERE, None, VALUES_ELSEWHERE, False),
        (True, VALUES_ELSEWHERE, WHOLE, VALUES_ELSEWHERE, False),
        (True, None, WHOLE, WHOLE, False),
    ],
)
def test_the_answer_that_a_run_ends_with(
    attaches: bool,
    answer: Answer | None,
    whole: Answer | None,
    final: Answer | None,
    lacks: bool,
) -> None:
    end = RunEnd(attaches=attaches)
    if answer is not None:
        end.take(answer, 1.0, is_whole=False)
    if whole is not None:
        end.take(whole, 2.0, is_whole=True)
    assert end.final_answer is final
    assert end.lacks_whole_answer is lacks


def test_the_first_message_says_when_a_run_ended() -> None:
    end = RunEnd(attaches=False)
    assert end.time_of(None) is end.time_of(RESULT) is None
    end.lose(MachineError("first"), 5.0)
    end.lose(last := MachineError("last"), 6.0)
    end.take(WHOLE, 7.0, is_whole=True)
    end.take(RESULT, 8.0, is_whole=False)
    assert end.lost is last, "the last error says most"
    assert end.time_of(None) == 5.0
    assert end.time_of(RESULT) == 7.0


@pytest.mark.parametrize(
    "answer, stopped, lost, expected",
    [
        (None, False, MachineError("it died"), True),
        (None, False, None, False),
        (None, False, BackendLost("no network"), False),
        (None, True, MachineError("it died"), False),
        (RESULT, False, MachineError("it died"), False),
    ],
)
def test_a_crash_is_an_end_without_answer_that_nobody_asked_for(
    answer: Answer | None,
    stopped: bool,
    lost: BaseException | None,
    expected: bool,
) -> None:
    end = RunEnd(attaches=False)
    if lost is not None:
        end.lose(lost, 1.0)
    assert end.is_crash(answer, stopped=stopped) is expected
