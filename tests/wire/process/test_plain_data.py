"""What is plain enough to be sent as an attribute of a module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.wire.process.plain_data import MOST_CHARACTERS, MOST_ITEMS, is_plain

CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value, plain",
    [
        (1, True),
        (None, True),
        ("x" * MOST_CHARACTERS, True),
        ([b"x" * (MOST_CHARACTERS + 1)], False),
        ({"a": [1, (2.0, {3})], b"b": frozenset()}, True),
        (list(range(MOST_ITEMS - 1)), True),
        (list(range(MOST_ITEMS)), False),
        (CYCLE, False),
        (np.float64(1), False),
        (np.zeros(1), False),
        (print, False),
        ([object()], False),
        (type("Text", (str,), {})("a"), False),
    ],
)
def test_what_is_plain(value: Any, plain: bool) -> None:
    assert is_plain(value) == plain
