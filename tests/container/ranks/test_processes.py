"""The processes of ranks, listened to by many threads: what one thread reads while another one adds a rank."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.container.ranks.processes import RankProcesses
from modal_gpu_magic.container.ranks.protocol import Order
from modal_gpu_magic.wire.messages.events import Request
from tests.container.smi_double import eventually

RANKS = 300


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns after each few bytecodes, so that a race is met in a second."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_ranks_connect_while_others_are_read(switching: None) -> None:
    """A dict that grows in another thread while it is iterated raises RuntimeError."""
    with (
        tempfile.TemporaryDirectory() as directory,
        RankProcesses(order(), RANKS, Path(directory), lambda *_: None) as rank_processes,
    ):
        links: list[Any] = []

        def connect() -> None:
            for rank in range(RANKS):
                link = Client(rank_processes._address)
                link.send(("hello", (rank, 0)))
                link.recv()
                links.append(link)

        thread = threading.Thread(target=connect)
        thread.start()
        while thread.is_alive():
            assert rank_processes.dones == {}
        thread.join()
        eventually(lambda: len(rank_processes.members) == RANKS)  # the last rank has its order before it is a member
        for link in links:
            link.close()


def order() -> Order:
    return Order(Request("run", "1", "pass", 1), "", "")
