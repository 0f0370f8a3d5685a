"""A shown receipt stays true: here, that the reader's time zone becomes known at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from modal_gpu_magic.session.facade import Session
from modal_gpu_magic.ui.fronts.receipt import Container
from modal_gpu_magic.ui.fronts.terminal import TextFront
from modal_gpu_magic.ui.fronts.upkeep import keep_true
from modal_gpu_magic.ui.widgets.reader import READER


class Front(TextFront):
    """Notes each time that its receipt is drawn: in which zone."""

    def __init__(self) -> None:
        super().__init__(InteractiveShell())
        self.container = Container("idle", time.time() + 600)
        self.drawn: list[str] = []

    def update(self, container: Container | None = None) -> None:
        super().update(container)
        self.drawn.append(READER.zone)


@pytest.fixture
def front() -> Iterator[Front]:
    before, watchers = READER.zone, list(READER.watchers)
    READER.zone = ""
    yield Front()
    READER.zone, READER.watchers[:] = before, watchers


def test_a_zone_that_becomes_known_later(front: Front) -> None:
    keep_true(front, Session("T4", backend="local", namespace={}))
    assert front.drawn == []
    READER.is_in("Asia/Tokyo")
    assert front.drawn == ["Asia/Tokyo"]


def test_a_zone_that_became_known_while_the_receipt_was_shown(front: Front) -> None:
    READER.is_in("Asia/Tokyo")
    keep_true(front, Session("T4", backend="local", namespace={}))
    assert front.drawn == ["Asia/Tokyo"]
