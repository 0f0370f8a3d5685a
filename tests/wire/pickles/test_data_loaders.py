"""A data loader arrives without the worker processes, which each side starts for itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.pickles.update_in_place import absorb
from tests.wire.carried import carried

NUMBERS = [torch.tensor(number) for number in range(4)]


class Own(DataLoader[Any]):  # type: ignore[misc]  # torch has no types here
    """A loader with a way of its own to be pickled."""

    def __reduce__(self) -> Any:
        return Own, (self.dataset, 2)


@pytest.fixture
def started() -> DataLoader[Any]:
    """Return a loader that keeps its worker process."""
    loader: DataLoader[Any] = DataLoader(
        NUMBERS,
        batch_size=2,
        num_workers=1,
        persistent_workers=True,
    )
    assert len(list(loader)) == 2
    assert loader._iterator is not None
    return loader


def test_a_loader_arrives_without_its_workers(started: DataLoader[Any]) -> None:
    arrived = carried(started)
    assert arrived._iterator is None
    assert vars(arrived).keys() == vars(started).keys()
    assert (arrived.batch_size, arrived.num_workers, arrived.persistent_workers) == (2, 1, True)
    assert [batch.tolist() for batch in arrived] == [[0, 1], [2, 3]]


def test_workers_are_no_change_of_a_loader(started: DataLoader[Any]) -> None:
    before = fingerprint(started, {})
    started._iterator = None
    assert fingerprint(started, {}) == before


def test_a_loader_that_is_written_into_keeps_its_workers(started: DataLoader[Any]) -> None:
    kept, fresh = started._iterator, carried(started)
    fresh.own, started.former = [1], [2]
    assert absorb(started, fresh)
    assert started._iterator is kept
    assert started.own == [1]
    assert not hasattr(started, "former")


def test_a_loader_with_a_way_of_its_own_goes_its_way() -> None:
    assert carried(Own(NUMBERS, 1)).batch_size == 2
