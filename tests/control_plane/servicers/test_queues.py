"""Queues of the real SDK: order, partitions, waiting, and Modal's limits with the errors that the SDK makes of them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import modal
import pytest


@pytest.fixture
def line(client: Any) -> Iterator[Any]:
    """An ephemeral queue."""
    with modal.Queue.ephemeral(client=client) as made:
        yield made


def test_first_in_first_out_in_each_partition(line: Any) -> None:
    line.put_many([1, 2, 3])
    line.put("other", partition="p")
    assert (line.len(), line.len(partition="p"), line.len(total=True)) == (3, 1, 4)
    assert line.get_many(2) == [1, 2]
    assert line.get(partition="p") == "other"
    assert line.get() == 3
    assert line.get(block=False) is None
    assert line.get_many(5, block=False) == []


def test_looking_does_not_take(line: Any) -> None:
    line.put_many(list(range(250)))
    assert list(line.iterate()) == list(range(250))
    assert line.len() == 250
    line.clear()
    assert line.len() == 0


def test_a_get_waits_for_a_put(line: Any) -> None:
    threading.Timer(0.3, line.put, ["late"]).start()
    assert line.get(timeout=60) == "late"
    with pytest.raises(queue.Empty):
        line.get(timeout=0.2)


def test_a_full_partition_is_the_standard_librarys_full(line: Any) -> None:
    for _ in range(5):
        line.put_many([0] * 1000)
    with pytest.raises(queue.Full):
        line.put(1, block=False)
    line.put(1, block=False, partition="another")
    line.get_many(10)
    line.put(1, block=False)


def test_a_partition_is_full_by_size_too(line: Any) -> None:
    item = bytes((1 << 20) - 1000)
    for _ in range(4):
        line.put_many([item] * 16)
    with pytest.raises(queue.Full):
        line.put(item, block=False)


def test_an_item_that_can_never_fit_is_an_error(line: Any) -> None:
    with pytest.raises(modal.exception.InvalidError, match="1048576"):
        line.put(bytes((1 << 20) + 1), block=False)


def test_a_name_is_shared_and_has_to_exist(client: Any) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="create_if_missing"):
        modal.Queue.from_name("nobody", client=client).len()
    one = modal.Queue.from_name("mine", create_if_missing=True, client=client)
    one.put("x")
    assert modal.Queue.from_name("mine", client=client).get() == "x"
    assert modal.Queue.from_id(one.object_id, client=client).len() == 0
