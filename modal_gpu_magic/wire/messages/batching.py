"""`@batched(32, wait_ms=100)` marks a service's function that takes several calls at once, without wrapping it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from modal_gpu_magic.catalog.limits import BATCH_SIZES, BATCH_WAIT_MS
from modal_gpu_magic.errors import ServiceError

WAIT_MS = 100
"""Default of `wait_ms` in milliseconds: the value in Modal's guide."""
_MARK = "_modal_gpu_batch"
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Batch:
    """How calls are collected into a batch.

    Attributes:
        size: largest number of calls in a batch.
        wait_ms: longest time in milliseconds to wait for more calls after the first.

    Raises:
        ServiceError: a value is outside Modal's limits.
    """

    size: int
    wait_ms: int = WAIT_MS

    def __post_init__(self) -> None:
        for what, value, (low, high) in (("size", self.size, BATCH_SIZES), ("wait_ms", self.wait_ms, BATCH_WAIT_MS)):
            if type(value) is not int or not low <= value <= high:
                raise ServiceError(f"the {what} of a batch must be {low} to {high:,} (Modal's limits), not {value!r}.")

    def __str__(self) -> str:
        return f"up to {self.size} calls per batch, collected for at most {self.wait_ms} ms"


def batched(max_batch_size: int, wait_ms: int = WAIT_MS) -> Callable[[_F], _F]:
    """Mark a function of a service: the function gets lists with one item per call, and returns a list of results.

    The mark does not change a direct call of the function; the service turns the mark into `@modal.batched`.

    Args:
        max_batch_size: largest number of calls in a batch, 1 to 1,000.
        wait_ms: longest time to wait for more calls, 0 to 600,000 milliseconds.

    Raises:
        ServiceError: a value is outside Modal's limits.
    """
    batch = Batch(max_batch_size, wait_ms)

    def mark(function: _F) -> _F:
        setattr(function, _MARK, batch)
        return function

    return mark


def batch_of(function: object) -> Batch | None:
    """Return the batch settings of a function; None: the function has no mark."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Batch) else None
