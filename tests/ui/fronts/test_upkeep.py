"""A shown receipt stays true: here, that the reader's time zone becomes known at any moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from modal_gpu_magic.session.facade import Session
from modal_gpu_magic.ui.fronts.receipt import Container
from modal_gpu_magic.ui.fronts.upkeep import keep_true
from modal_gpu_magic.ui.widgets.reader import READER


class Front(SimpleNamespace):
    """A front whose receipt was made in a zone; it notes each time that the receipt is drawn."""

    def update(self, container: Container | None = None) -> None:
        self.drawn.append((READER.zone, container))


@pytest.fixture
def front() -> Iterator[Any]:
    before, watchers = READER.zone, list(READER.watchers)
    READER.zone = ""
    yield Front(zone="", container=Container("idle", time.time() + 600), drawn=[])
    READER.zone, READER.watchers[:] = before, watchers


def test_a_zone_that_becomes_known_later(front: Any) -> None:
    keep_true(front, Session("T4", backend="local", namespace={}))
    assert front.drawn == []
    READER.is_in("Asia/Tokyo")
    assert front.drawn == [("Asia/Tokyo", None)]


def test_a_zone_that_became_known_while_the_receipt_was_shown(front: Any) -> None:
    READER.is_in("Asia/Tokyo")
    keep_true(front, Session("T4", backend="local", namespace={}))
    assert front.drawn == [("Asia/Tokyo", None)]
