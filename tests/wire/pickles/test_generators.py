"""The global random generators, and functions that are bound to them, are pickled by name."""

# ruff: noqa: NPY002 - the legacy generator is the subject

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
import torch

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.pickles.loading import Known, Loader
from modal_gpu_magic.wire.pickles.pickling import TransferPickler
from modal_gpu_magic.wire.pickles.types.generators import reduce_global_generator

GLOBAL: Any = {
    "random.random": random.random,
    "random.shuffle": random.shuffle,
    "random.seed": random.seed,
    "the instance": random._inst,
    "numpy.random.rand": np.random.rand,
    "numpy.random.permutation": np.random.permutation,
    "the state": np.random.mtrand._rand,
    "torch": torch.default_generator,
    "a method of torch's": torch.default_generator.manual_seed,
}


def crossed(value: Any) -> Any:
    """The value, pickled as a cell's values are."""
    file = io.BytesIO()
    TransferPickler(file, {}).dump(value)
    file.seek(0)
    loader = Loader(file, {}, Known())
    assert loader.load() == {}, "each stream begins with the namespace"
    return loader.load()


@pytest.mark.parametrize("value", GLOBAL.values(), ids=GLOBAL.keys())
def test_a_global_generator_is_itself(value: Any) -> None:
    back = crossed(value)
    assert back is value or back == value
    assert getattr(back, "__self__", None) is getattr(value, "__self__", None)
    assert crossed({"a": [value]})["a"][0] == value


@pytest.mark.parametrize("value", GLOBAL.values(), ids=GLOBAL.keys())
def test_its_fingerprint_does_not_follow_its_numbers(value: Any) -> None:
    before = fingerprint(value, {}, Hasher())
    random.random(), np.random.rand(), torch.rand(1)
    assert before is not None
    assert fingerprint(value, {}, Hasher()) == before


def test_generators_of_the_users_own_are_values() -> None:
    own, legacy = random.Random(1), np.random.RandomState(1)
    others: list[Any] = [own, legacy, np.random.default_rng(1), own.random, [].append, len, "a".join]
    for value in others:
        assert reduce_global_generator(value) is NotImplemented
    copy = crossed(own)
    assert copy is not own
    assert copy.random() == own.random()
    assert crossed(legacy).rand() == legacy.rand()
    draw = crossed(random.Random(2).choice)
    assert draw(range(1000)) == random.Random(2).choice(range(1000))
