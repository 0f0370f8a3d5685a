"""■ that is held back: told afterwards, unless it is pressed twice."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from modal_gpu_magic.session.presses import HeldPress, Presses


def press() -> None:
    """As the notebook's ■ does."""
    os.kill(os.getpid(), signal.SIGINT)


def test_a_press_waits_and_is_told() -> None:
    with HeldPress() as held:
        press()
    assert held.pressed
    with pytest.raises(KeyboardInterrupt):
        press()


def test_a_second_press_does_not_wait() -> None:
    with HeldPress():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_a_press_is_a_message_it_stays_one() -> None:
    with Presses() as presses:
        with HeldPress() as held:
            press()
        assert not held.pressed
        assert presses.inbox.get(timeout=5) == ("press", None)


def test_another_thread_changes_nothing() -> None:
    held = []

    def enter() -> None:
        with HeldPress():
            held.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert held == [signal.default_int_handler]
