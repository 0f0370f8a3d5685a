"""An async iterator read by plain code: whatever ends it reaches the reader, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from modal_gpu_magic.session.service.async_iteration import driven


def ending_with(error: BaseException) -> Callable[[], AsyncIterator[int]]:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise error

    return items


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        asyncio.CancelledError("x"),
        SystemExit(3),
        KeyboardInterrupt("x"),
        GeneratorExit("x"),
        asyncio.TimeoutError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_iterators_own_error_comes_in_its_place(error: BaseException) -> None:
    items = driven(ending_with(error))
    assert next(items) == 1
    with pytest.raises(type(error)) as caught:
        next(items)
    assert caught.value.args == error.args


def test_what_cannot_even_begin_is_an_error_of_the_first_item() -> None:
    def make() -> AsyncIterator[int]:
        raise SystemExit(4)

    with pytest.raises(SystemExit, match="4"):
        next(driven(make))


def test_one_that_is_left_is_cancelled() -> None:
    over = threading.Event()

    async def items() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            over.set()

    for _ in driven(items):
        break
    assert over.wait(60)
