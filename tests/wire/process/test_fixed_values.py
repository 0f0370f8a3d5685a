"""Which values are the same in a copy."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import operator
import pathlib
import random
import re
from typing import Any

import numpy as np
import pytest
import torch

from modal_gpu_magic.wire.process.fixed_values import is_fixed


class Colour(enum.Enum):
    """An enum of a module."""

    RED = 1


def closing_over(value: Any) -> Any:
    """A function that was made in a call, with a value in its closure."""

    def inner() -> Any:
        return value

    return inner


def with_default(value: Any) -> Any:
    """A function of the notebook with a default."""
    made: Any = lambda given=value: given  # noqa: E731
    made.__module__ = "__main__"
    return made


def of_the_notebook() -> type:
    """A class of the notebook."""
    return type("Own", (), {"__module__": "__main__"})


FIXED = [
    *(
        1,
        "a",
        None,
        ...,
        (1, ("b",)),
        frozenset({1}),
        range(3),
        dt.date(2026, 1, 1),
        pathlib.Path("a"),
        re.compile("a"),
    ),
    *(torch.device("cpu"), torch.float16, torch.Size([1]), np.float32(1), np.dtype("f4")),
    *(len, torch.load, torch.nn.functional.relu, torch.optim.AdamW, np, int, Colour.RED, operator.add),
    *(
        functools.partial(torch.load, weights_only=False),
        property(len),
        staticmethod(closing_over(1)),
    ),
    *(closing_over(len), closing_over(closing_over(1)), with_default(2)),
]
CHANGEABLE = [
    *([], {}, set(), ([],), bytearray(), object(), iter([]), np.zeros(1), torch.zeros(1), random.Random(1)),
    *(
        closing_over([]),
        closing_over(closing_over({})),
        with_default([]),
        functools.partial(len, []),
        property(closing_over([])),
    ),
    *(of_the_notebook(), of_the_notebook()(), [].append, torch.nn.Linear(1, 1), closing_over(of_the_notebook())),
]


@pytest.mark.parametrize("value", FIXED, ids=lambda value: type(value).__name__)
def test_what_no_program_can_change(value: Any) -> None:
    assert is_fixed(value)


@pytest.mark.parametrize("value", CHANGEABLE, ids=lambda value: type(value).__name__)
def test_what_a_program_can_change(value: Any) -> None:
    assert not is_fixed(value)


def test_a_function_that_calls_itself() -> None:
    def recursive(depth: int) -> Any:
        return recursive(depth - 1) if depth else depth

    assert is_fixed(recursive)
