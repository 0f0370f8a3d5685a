"""What a value's own code raises is a fact about the value; what stops the reading passes."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from modal_gpu_magic.container.process.interrupt import Interrupt
from modal_gpu_magic.container.state.saving import Interrupted
from modal_gpu_magic.session.run.interrupts import Inbox, Reading
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.inspection.summary import bundle, summary
from modal_gpu_magic.wire.pickles.fingerprints import look, why_not
from modal_gpu_magic.wire.values.own_code import pass_on, stopping, words_of


class Own(BaseException):
    """Of a user, with hooks that fail."""

    def __str__(self) -> str:
        raise self


class Raising:
    """Raises while it is read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> str:
        raise self.error

    def __repr__(self) -> str:
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), asyncio.CancelledError(), Own(), ValueError("no")])
def test_what_a_value_raises_is_its_own(error: BaseException) -> None:
    value = Raising(error)
    pass_on(error)
    assert look([value], {}) is None
    assert "cannot be pickled" in str(why_not(value, {}))
    assert nbytes_of([value]) > 0
    assert summary(value) == "Raising"
    assert bundle(value) == {"text/plain": "Raising"}
    assert type(error).__name__ in words_of(error) or str(error) == words_of(error)


def press() -> KeyboardInterrupt:
    return stopping(KeyboardInterrupt())


@pytest.mark.parametrize("error", [Interrupted(), press(), KeyboardInterrupt()])
def test_what_stops_the_reading_passes(error: BaseException) -> None:
    for read in (lambda value: look([value], {}), lambda value: why_not(value, {}), nbytes_of, bundle):
        with pytest.raises(type(error)):
            read(Raising(error))


def test_a_value_s_own_keyboard_interrupt_where_no_signal_raises_one() -> None:
    value = Raising(KeyboardInterrupt())
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(look([value], {})))
    thread.start()
    thread.join()
    assert found == [None]
    with Interrupt():
        assert look([value], {}) is None
    with Reading(Inbox()):
        assert look([value], {}) is None


def test_a_press_while_values_are_read_stops_the_reading() -> None:
    class Pressed:
        def __reduce__(self) -> str:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError

    with pytest.raises(KeyboardInterrupt, match="did not run"), Reading(Inbox()):
        look([Pressed()], {})
