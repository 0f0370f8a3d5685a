"""A service's record in the ledger is what its usage counts."""

from __future__ import annotations

from typing import Final

import pytest

from modal_gpu_magic.session.costs.ledger import Record
from modal_gpu_magic.session.run.bookkeeper import running_now
from modal_gpu_magic.session.service.books import PAUSE_SECONDS, ServiceBooks
from modal_gpu_magic.session.service.usage import Usage

START: Final = 1_795_780_800.0
TEMPLATE: Final = Record("", "service", 0, 0, 0, "cloud", "embed", "L4", "L4", hourly=3.6)


class Desk:
    def __init__(self, least: int = 0) -> None:
        self.now = START
        self.usage = Usage(60, least, self.clock)
        self.records: list[Record] = []
        self.books = ServiceBooks(TEMPLATE, self.usage, self.records.append, self.clock)
        self.usage.on_change = self.books.note

    def clock(self) -> float:
        return self.now

    def call(self, seconds: float) -> None:
        with self.usage.use():
            self.now += seconds


def test_the_last_record_is_the_whole_cost() -> None:
    desk = Desk()
    desk.call(30)
    desk.now += 10
    assert desk.books.open_records()[0].dollars == pytest.approx(0.040)
    assert desk.books.open_records()[0] in running_now()
    desk.usage.end()
    desk.books.close()
    desk.books.close()
    last = desk.records[-1]
    assert len({each.id for each in desk.records}) == 1
    assert (last.kind, last.session, last.ended, last.until) == ("service", "embed", desk.now, desk.now)
    assert last.dollars == pytest.approx(0.040)
    assert desk.books.open_records() == ()


def test_a_kernel_that_dies_leaves_the_idle_time_at_most() -> None:
    desk = Desk()
    desk.call(30)
    assert desk.records[-1].dollars_at(desk.now + 1e6) == pytest.approx(0.090)
    assert desk.records[-1].dollars_at(desk.now + 10) == pytest.approx(0.040)


def test_many_calls_are_few_records() -> None:
    desk = Desk()
    for _ in range(1000):
        desk.call(0.01)
    assert 1 < len(desk.records) <= 1 + 10 // PAUSE_SECONDS
