"""The loop cells run in: running while they run, standing still between them, and unharmed by an interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from modal_gpu_magic.container.process.loop import CellLoop

WORD: ContextVar[str] = ContextVar("WORD", default="")


@pytest.fixture
def claims() -> list[str]:
    return []


@pytest.fixture
def cells(claims: list[str]) -> Iterator[CellLoop]:
    cells = CellLoop(lambda: claims.append("claimed"))
    yield cells
    cells._loop.close()


def test_a_plain_cell_runs_in_a_running_loop_and_its_task_goes_on_with_the_next(cells: CellLoop) -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    task = cells.run_plain(lambda: asyncio.get_running_loop().create_task(work()))
    assert not task.done()

    async def wait() -> None:
        await task

    cells.run_coroutine(wait())
    assert done == [1]


def test_a_context_variable_set_in_a_plain_cell_stays(cells: CellLoop, claims: list[str]) -> None:
    async def read() -> str:
        return WORD.get()

    cells.run_plain(lambda: WORD.set("kept"))
    assert cells.run_plain(WORD.get) == "kept"
    assert cells.run_coroutine(read()) == "kept"
    assert WORD.get() == ""
    assert claims == ["claimed"] * 3


def test_a_cell_interrupted_before_its_turn_never_runs(cells: CellLoop) -> None:
    ran: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    cells._loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        cells.run_plain(lambda: ran.append("first"))
    cells.run_plain(lambda: ran.append("second"))
    assert ran == ["second"]


def test_an_interrupt_while_a_cell_waits_cancels_it(cells: CellLoop) -> None:
    seen: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def wait() -> str:
        asyncio.get_running_loop().call_soon(interrupt)
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("stopping" if cells.stopping else "cancelled")
        return "ended"

    assert cells.run_coroutine(wait()) == "ended"
    assert (seen, cells.stopping) == (["stopping"], False)


def test_an_error_of_a_plain_cell_s_runner_comes_out(cells: CellLoop) -> None:
    async def nested() -> None:
        await asyncio.sleep(0)

    def cell() -> str:
        coroutine = nested()
        with pytest.raises(RuntimeError, match="already running"):
            cells.run_coroutine(coroutine)
        coroutine.close()
        return "refused"

    assert cells.run_plain(cell) == "refused"
