"""Objects whose class has no pickle that can be loaded arrive as their constructors make them."""

from __future__ import annotations

import random
import struct
import sys
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.pickles.types.rebuilt import fact_of_sys
from tests.wire.carried import carried


@pytest.mark.parametrize(
    "name", ["version_info", "flags", "float_info", "hash_info", "int_info", "thread_info", "implementation"]
)
def test_a_fact_of_the_interpreter_arrives(name: str) -> None:
    value = getattr(sys, name)
    assert carried([value]) == [value]
    assert type(carried(value)) is type(value)


def test_a_fact_of_another_interpreter_is_not_replaced_by_this_one() -> None:
    with pytest.raises(Exception, match=r"sys.version_info is \(3, "):
        fact_of_sys("version_info", (2, 7, 18, "final", 0))


@pytest.mark.parametrize("value", [np.finfo(np.float32), np.finfo("f2"), np.iinfo(np.int8), np.iinfo("u8")])
def test_the_limits_of_a_number_arrive(value: Any) -> None:
    found = carried(value)
    assert (found.dtype, found.min, found.max) == (value.dtype, value.min, value.max)
    assert fingerprint(found, {}) == fingerprint(value, {})


def test_a_layout_of_bytes_arrives() -> None:
    layout = struct.Struct("<i2f")
    assert carried(layout).pack(1, 2.0, 3.0) == layout.pack(1, 2.0, 3.0)


def test_random_numbers_of_the_system_arrive() -> None:
    assert 0 <= carried(random.SystemRandom()).random() < 1
