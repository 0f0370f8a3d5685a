"""The handle of a background cell, and the functions that wait for the main thread."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
import threading
import time
import traceback

import pytest

from modal_gpu_magic.session.run import background
from modal_gpu_magic.session.run.background import CUT, LOG_CHARACTERS, Background, BackgroundRun, clock
from modal_gpu_magic.session.run.backlog import words_of
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD, MainThread
from modal_gpu_magic.session.run.receipt import Receipt
from tests.session.serving import eventually


class StillTime:
    """The clock of a run, on which no second passes."""

    @staticmethod
    def monotonic() -> float:
        return 0.0


@pytest.fixture
def no_second_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "time", StillTime)


@pytest.fixture
def run() -> BackgroundRun:
    return BackgroundRun("train", "default")


def in_a_thread(run: BackgroundRun, result: object = None, error: BaseException | None = None) -> None:
    """End a run as its thread does: by the main thread."""
    end = lambda: run.ends("failed" if error else "done", result, error)  # noqa: E731
    threading.Thread(target=MAIN_THREAD.call, args=(end,)).start()


@pytest.mark.usefixtures("no_second_passes")
def test_a_handle_says_what_the_run_does(run: BackgroundRun) -> None:
    handle = Background(run)
    run.ahead = lambda: "first, running since 0:12"
    assert repr(handle) == "train: waits for first, running since 0:12"
    run.enters("running")
    run.takes("running on H100", 0.5)
    assert repr(handle) == "train: running on H100 · 0:00 · $0.50"
    assert not handle.done()
    run.ends("done", 3)
    assert handle.done()
    assert handle.result() == 3
    assert repr(handle).startswith("train: done · 0:00")


def test_the_handle_of_a_local_run_says_that_the_money_is_simulated(run: BackgroundRun) -> None:
    run.is_free = True
    run.enters("running")
    for cost, words in ((0.5, "free (≈ $0.50 on Modal)"), (0.001, "free (<$0.01 on Modal)"), (None, None)):
        run.takes("running on H100", cost)
        assert repr(Background(run)).split(" · ")[2:] == ([words] if words else [])


@pytest.mark.parametrize(
    "facts, words",
    [
        (dict(hourly=7.2), "train: done · 0:36 · $0.06"),
        (dict(hourly=7.2, backend="local"), "train: done · 0:36 · free (≈ $0.06 on Modal)"),
        (dict(hourly=None), "train: done · 0:36 · cost –"),
        (dict(hourly=None, backend="local"), "train: done · 0:36 · free"),
    ],
)
def test_the_handle_of_a_run_that_has_ended_says_what_its_receipt_says(
    run: BackgroundRun, facts: dict[str, object], words: str
) -> None:
    base = dict(outcome="done", asked="H100", backend="cloud", simulated=False, waited=5.0, started=2.0, ran=29.5)
    run.receipt = Receipt(**{**base, **facts})  # type: ignore[arg-type]  # a table of facts
    run.is_free = run.receipt.backend == "local"
    run.ends("done", 3)
    assert repr(Background(run)) == words


@pytest.mark.usefixtures("no_second_passes")
def test_a_queued_run_says_at_once_how_long_the_run_ahead_takes(run: BackgroundRun) -> None:
    ahead, said = BackgroundRun("first", "default"), list[str]()
    run.waits_for(ahead, lambda: f"first, {ahead.words}")
    run.watch(lambda: said.append(run.text))
    ahead.takes("running on T4", None)
    run.enters("running")
    ahead.takes("done", None)
    assert said == ["train: waits for first, running on T4", "train: running · 0:00"]


def test_the_result_comes_by_the_main_thread(run: BackgroundRun) -> None:
    in_a_thread(run, [1])
    assert Background(run).result(timeout=60) == [1]


def test_a_wait_has_a_limit_and_the_error_is_the_cell_s_own(run: BackgroundRun) -> None:
    run.enters("running")
    with pytest.raises(TimeoutError, match=r"train has not ended after 0\.01 s: running"):
        Background(run).result(timeout=0.01)
    in_a_thread(run, error=KeyError("lost"))
    with pytest.raises(KeyError, match="lost"):
        Background(run).result(timeout=60)


def test_a_handle_is_awaited_beside_other_tasks(run: BackgroundRun) -> None:
    async def both() -> tuple[object, list[int]]:
        steps: list[int] = []

        async def count() -> None:
            while not run.is_over.is_set():
                steps.append(len(steps))
                await asyncio.sleep(0)
                if len(steps) == 3:
                    in_a_thread(run, "value")

        counting = asyncio.create_task(count())
        result = await Background(run)
        await counting
        return result, steps

    result, steps = asyncio.run(both())
    assert result == "value"
    assert len(steps) >= 3


def test_cancel_withdraws_a_queued_cell_and_presses_stop_of_another(run: BackgroundRun) -> None:
    run.withdraw = lambda: True
    Background(run).cancel()
    assert run.inbox.empty()
    run.withdraw = lambda: False
    Background(run).cancel()
    assert run.inbox.get() == ("press", None)


def test_the_log_keeps_the_last_output(run: BackgroundRun) -> None:
    run.logs("first\n")
    assert Background(run).logs() == "first\n"
    run.logs("x" * LOG_CHARACTERS)
    run.logs("last")
    assert run.log.startswith(CUT)
    assert run.log.endswith("xlast")
    run.clears()
    assert run.log == ""


def test_a_handle_is_not_pickled(run: BackgroundRun) -> None:
    with pytest.raises(TypeError, match=r"send its result, such as r = train\.result\(\)"):
        pickle.dumps(Background(run))


def test_a_function_waits_for_the_main_thread_and_raises_on_its_own() -> None:
    main, seen = MainThread(), list[object]()

    def work() -> None:
        seen.append(main.call(threading.current_thread))
        try:
            main.call(lambda: 1 / 0)
        except ZeroDivisionError as error:
            seen.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    end = time.monotonic() + 60
    while thread.is_alive():
        assert time.monotonic() < end
        main.run_pending()
        thread.join(0.01)
    assert seen == [threading.main_thread(), ZeroDivisionError]


@pytest.mark.usefixtures("no_second_passes")
def test_words() -> None:
    assert (clock(12), clock(3723)) == ("0:12", "1:02:03")
    assert words_of([BackgroundRun("a", "s"), BackgroundRun("b", "s")]) == "a, b, running since 0:00"
    assert words_of([]) == "its turn"


def press_when_it_waits() -> None:
    """Press ■ once the main thread waits for a run."""

    def functions() -> set[str]:
        stack = traceback.walk_stack(sys._current_frames()[threading.main_thread().ident or 0])
        return {frame.f_code.co_name for frame, _ in stack}

    def press() -> None:
        eventually(lambda: "_wait" in functions())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()


def test_a_press_ends_the_wait_for_a_result_in_one_line(run: BackgroundRun) -> None:
    press_when_it_waits()
    with pytest.raises(KeyboardInterrupt) as press:
        Background(run).result()
    words = "KeyboardInterrupt: stopped waiting for train; train goes on, and train.cancel() stops it"
    assert press.value._render_traceback_() == [words]  # type: ignore[attr-defined]  # IPython's hook
    assert run.inbox.empty()


def test_a_result_that_is_late_is_one_line(run: BackgroundRun) -> None:
    with pytest.raises(TimeoutError) as late:
        Background(run).result(timeout=0.01)
    words = "TimeoutError: train has not ended after 0.01 s: queued."
    assert late.value._render_traceback_() == [words]  # type: ignore[attr-defined]  # IPython's hook


def test_a_cell_that_was_interrupted_is_shown_with_its_own_traceback(run: BackgroundRun) -> None:
    error = KeyboardInterrupt("of the cell")
    run.ends("stopped", None, error)
    with pytest.raises(KeyboardInterrupt) as raised:
        Background(run).result()
    assert raised.value is error


def test_an_await_that_is_cancelled_says_so_in_one_line(run: BackgroundRun) -> None:
    """When ■ is pressed, ipykernel cancels a cell that awaits: the notebook showed a frame of this package."""

    async def cell() -> BaseException:
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await Background(run)
        return cancelled.value

    async def pressed() -> BaseException:
        waiting = asyncio.ensure_future(cell())
        await asyncio.sleep(0)
        waiting.cancel()
        return await waiting

    shown = asyncio.run(pressed())
    words = "stopped waiting for train; train goes on, and train.cancel() stops it"
    assert shown._render_traceback_() == [f"CancelledError: {words}"]  # type: ignore[attr-defined]  # IPython's hook


def test_a_handle_that_is_pickled_says_so_in_one_line(run: BackgroundRun) -> None:
    with pytest.raises(TypeError, match="stays in the notebook") as refused:
        pickle.dumps(Background(run))
    assert len(refused.value._render_traceback_()) == 1  # type: ignore[attr-defined]  # IPython's hook
