"""`@batched(32, wait_ms=100)`: says that a service's function takes many calls at once. A mark; it wraps nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from modal_gpu_magic.catalog.limits import BATCH_SIZES, BATCH_WAIT_MS
from modal_gpu_magic.errors import ServiceError

WAIT_MS = 100
"""What holds where nobody says: the value of Modal's own guide."""
_MARK = "_modal_gpu_batch"
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Batch:
    """How calls are gathered: at most `size` of them, for at most `wait_ms` milliseconds from the first.

    Raises:
        ServiceError: outside Modal's limits.
    """

    size: int
    wait_ms: int = WAIT_MS

    def __post_init__(self) -> None:
        for what, value, (low, high) in (("size", self.size, BATCH_SIZES), ("wait_ms", self.wait_ms, BATCH_WAIT_MS)):
            if type(value) is not int or not low <= value <= high:
                raise ServiceError(f"the {what} of a batch is {value!r}; Modal takes {low} to {high:,}.")

    def __str__(self) -> str:
        return f"up to {self.size} calls at once, {self.wait_ms} ms to gather them"


def batched(max_batch_size: int, wait_ms: int = WAIT_MS) -> Callable[[_F], _F]:
    """Mark a function of a service: it gets lists, one item a call, and returns a list of as many results.

    Where the function itself runs the mark does nothing; the service makes `@modal.batched` from it.

    Args:
        max_batch_size: calls at once, 1 to 1000.
        wait_ms: milliseconds to wait for more calls, 0 to 600,000.

    Raises:
        ServiceError: outside Modal's limits.
    """
    batch = Batch(max_batch_size, wait_ms)

    def mark(function: _F) -> _F:
        setattr(function, _MARK, batch)
        return function

    return mark


def batch_of(function: object) -> Batch | None:
    """How a function is marked; None: it is not."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Batch) else None
