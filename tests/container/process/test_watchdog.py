"""The watchdog's second step: a cell that does not end when it is interrupted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from modal_gpu_magic.container.process.interrupt import Interrupt
from modal_gpu_magic.container.process.watchdog import EXIT_STATUS, Watchdog, limit
from modal_gpu_magic.wire.messages.events import Spending
from tests.container.far_side import FarSide


def test_a_cell_that_catches_everything_loses_its_container(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    source = (
        f"import time\nwhile True:\n    try:\n        __import__('pathlib').Path({str(begun)!r}).touch()\n"
        "        while True: time.sleep(0.01)\n    except BaseException: pass"
    )
    with FarSide() as far:
        for timeout in (0.2, 5.0, 60.0):  # a busy machine may take as long as that to begin the cell
            far.send(source, timeout=timeout, grace=0.3)
            try:
                ran = far.ended()
            except EOFError:
                break
            assert (ran.timed_out, begun.exists()) == (True, False)
        assert far.process.wait(60) == EXIT_STATUS
        assert begun.exists()


def test_last_words_come_before_the_end_and_cannot_hold_it_up() -> None:
    said: list[object] = []
    over = threading.Event()

    def end(status: int) -> None:
        said.append(status)
        over.set()

    with Interrupt() as interrupt:
        with Watchdog(interrupt, 0.05, lambda: said.append("words"), grace=0.05, end=end):
            assert over.wait(60)
        assert (said, interrupt.timed_out) == (["words", EXIT_STATUS], True)


def test_without_a_limit_nothing_is_watched() -> None:
    before = set(threading.enumerate())
    with Interrupt() as interrupt, Watchdog(interrupt, None):
        assert "modal-gpu-watchdog" not in {each.name for each in set(threading.enumerate()) - before}
    assert not interrupt.timed_out


BUDGET = Spending(100.0, "budget_cell of $5.00")


@pytest.mark.parametrize(
    "timeout, spending, billed, expected",
    [
        (3600.0, None, 50.0, (3600.0, "")),
        (None, None, 0.0, (None, "")),
        (3600.0, BUDGET, 0.0, (100.0, BUDGET.words)),
        (3600.0, BUDGET, 30.0, (70.0, BUDGET.words)),  # the container was started for this run
        (3600.0, BUDGET, 300.0, (0.0, BUDGET.words)),
        (80.0, BUDGET, 0.0, (80.0, "")),
        (80.0, BUDGET, 30.0, (70.0, BUDGET.words)),
        (None, BUDGET, 0.0, (100.0, BUDGET.words)),
    ],
)
def test_the_limit_is_the_timeout_or_what_a_budget_buys(
    timeout: float | None, spending: Spending | None, billed: float, expected: tuple[float | None, str]
) -> None:
    assert limit(timeout, spending, billed) == expected


def test_the_budget_is_named_by_what_stops_the_cell() -> None:
    with Interrupt() as interrupt:
        over = threading.Event()
        with Watchdog(interrupt, 0.0, grace=0.0, budget=BUDGET.words, end=lambda _: over.set()):
            assert over.wait(60)
        assert (interrupt.timed_out, interrupt.over) == (True, BUDGET.words)
