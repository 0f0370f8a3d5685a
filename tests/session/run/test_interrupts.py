"""■ as a message, held back, and pressed by others than the notebook."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from modal_gpu_magic.session.run import interrupts
from modal_gpu_magic.session.run.interrupts import (
    HeldPress,
    Presses,
    Reading,
    callback,
    in_one_line,
    interruptible,
    press,
    stopped,
    was_pressed,
    whole,
)


def interrupt() -> None:
    """As the notebook's ■ does."""
    os.kill(os.getpid(), signal.SIGINT)


def test_a_press_waits_and_is_told() -> None:
    with HeldPress() as held:
        interrupt()
    assert held.pressed
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_a_second_press_does_not_wait() -> None:
    with HeldPress():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_a_press_is_a_message_it_stays_one() -> None:
    with Presses() as presses:
        with HeldPress() as held:
            interrupt()
        assert not held.pressed
        assert presses.inbox.get(timeout=60) == ("press", None)


def test_another_thread_changes_nothing() -> None:
    held = []

    def enter() -> None:
        with HeldPress():
            held.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert held == [signal.default_int_handler]


def test_another_thread_may_press() -> None:
    with Presses() as presses:
        thread = threading.Thread(target=press, args=(presses.inbox,))
        thread.start()
        assert presses.inbox.get(timeout=60) == ("press", None)
        thread.join()


def test_a_question_is_interrupted_by_another_thread_too() -> None:
    """While somebody is asked, nobody reads the inbox."""
    with Presses() as presses:
        thread = threading.Timer(0.1, press, (presses.inbox,))

        def ask() -> None:
            with interruptible():
                thread.start()
                time.sleep(300)

        with pytest.raises(KeyboardInterrupt):
            ask()
        thread.join()
        assert presses.inbox.empty()


@pytest.mark.parametrize("at", range(12))
def test_a_press_at_any_line_of_the_swap_leaves_the_handler_as_it_was(at: int) -> None:
    """While the handler is swapped a press raises at once, wherever the code is."""
    code = interruptible.__wrapped__.__code__  # type: ignore[attr-defined]  # what contextmanager wraps
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if frame.f_code is not code:
            return None
        if event == "line":
            seen += 1
            if seen - 1 == at:
                signal.raise_signal(signal.SIGINT)
        return trace

    def ask() -> None:
        with interruptible():
            pass

    with Presses() as presses:
        ours = signal.getsignal(signal.SIGINT)
        sys.settrace(trace)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                ask()
        finally:
            sys.settrace(None)
        assert signal.getsignal(signal.SIGINT) == ours
        press(presses.inbox)
        assert presses.inbox.get(timeout=60) == ("press", None)


def test_a_press_at_any_line_of_a_callback_stops_what_follows_the_callback() -> None:
    """IPython would print the frames of a callback that raises, and run the cell."""
    files, called, left, before = {interrupts.__file__, signal.__file__}, [], 0, sys.gettrace()
    prepare = callback(lambda: called.append("prepare"))

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        # Python looks for signals where a function begins or ends, so none arrives at a line of the callback itself.
        left -= event == "line" and frame.f_code.co_name != "called"
        if event == "line" and left == 0:
            left = -1
            signal.raise_signal(signal.SIGINT)
        return trace

    for start in range(1, 200):
        called[:], left = [], start
        sys.settrace(trace)
        try:
            prepare()
        finally:
            sys.settrace(before)
        assert called == ["prepare"], f"line {start}"
        if left > 0:
            break
        with pytest.raises(KeyboardInterrupt):
            time.sleep(300)
    assert start > 20, "the lines of a callback"
    assert left > 0


def interrupt_and_wait() -> None:
    """Takes as long as a class's own `__reduce__` may, and is stopped meanwhile."""
    threading.Thread(target=interrupt).start()
    time.sleep(300)


def press_and_wait(presses: Presses) -> None:
    threading.Thread(target=press, args=(presses.inbox,)).start()
    time.sleep(300)


def interrupt_twice(written: list[bool]) -> None:
    interrupt()
    interrupt()
    written.append(True)


def test_reading_is_stopped_at_once() -> None:
    with Presses() as presses:
        with pytest.raises(KeyboardInterrupt, match="did not run"), Reading(presses.inbox):
            interrupt_and_wait()
        assert not was_pressed(presses.inbox), "the press has been used"
        interrupt()
        assert was_pressed(presses.inbox), "after the block a press is a message again"


def test_reading_is_stopped_by_another_thread() -> None:
    with Presses() as presses, pytest.raises(KeyboardInterrupt), Reading(presses.inbox):
        press_and_wait(presses)


def test_reading_does_not_begin_after_a_press() -> None:
    with Presses() as presses:
        interrupt()
        with pytest.raises(KeyboardInterrupt), Reading(presses.inbox):
            pytest.fail("the block was entered")


def test_what_must_not_be_torn_is_not() -> None:
    whole_calls = []

    def _give_up() -> None:
        interrupt()
        whole_calls.append(True)

    with Presses() as presses, pytest.raises(KeyboardInterrupt), Reading(presses.inbox):
        _give_up()
    assert whole_calls == [True]


def test_in_another_thread_the_press_counts_at_the_end() -> None:
    raised: list[BaseException] = []

    def read(presses: Presses) -> None:
        try:
            with Reading(presses.inbox):
                press(presses.inbox)
        except KeyboardInterrupt as error:
            raised.append(error)

    with Presses() as presses:
        thread = threading.Thread(target=read, args=(presses,))
        thread.start()
        thread.join()
    assert len(raised) == 1


def test_writing_is_not_torn() -> None:
    written: list[bool] = []
    with pytest.raises(KeyboardInterrupt), whole():
        interrupt_twice(written)
    assert written == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_stop_is_one_line() -> None:
    cell_s_own = KeyboardInterrupt()
    cell_s_own._render_traceback_ = lambda: ["one", "two"]  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt) as raised, in_one_line():
        raise cell_s_own
    assert raised.value is cell_s_own
    in_import = RuntimeError("Error calling __set_name__")
    in_import.__cause__ = KeyboardInterrupt()
    for error, line in (
        (KeyboardInterrupt(), "before the cell began"),
        (KeyboardInterrupt("why"), "why"),
        (stopped("words"), "words"),
        (in_import, "before the cell began"),
    ):
        with pytest.raises(KeyboardInterrupt) as raised, in_one_line():
            raise error
        (shown,) = raised.value._render_traceback_()  # type: ignore[attr-defined]
        assert shown.startswith("KeyboardInterrupt: ")
        assert line in shown
    other = RuntimeError("other")
    other.__cause__ = ValueError()
    with pytest.raises(RuntimeError, match="other"), in_one_line():
        raise other
