"""Apps that are being opened: who waits for one hears of it once, and a closed one leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import modal
import pytest

from modal_gpu_magic import Machine, Session
from modal_gpu_magic.sdk.client import Backend
from modal_gpu_magic.sdk.held import HeldApp
from modal_gpu_magic.session.app_opening import Opening
from tests.session.serving import eventually


def test_who_waits_while_it_becomes_ready_is_told_once() -> None:
    opening = Opening("first", Machine(), "local", ())

    class Slow(list[Callable[[], None]]):
        """Gives the opening thread time to become ready in the middle of `when_ready`."""

        def append(self, tell: Callable[[], None]) -> None:
            super().append(tell)
            opening._ready.wait(5)

    opening._callbacks = Slow()
    told: list[None] = []
    opening.when_ready(lambda: told.append(None))
    assert opening._ready.wait(100)
    opening.result().close()
    assert told == [None]


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()], ids=lambda error: type(error).__name__)
def test_whatever_ends_the_opening_is_raised_where_it_is_waited_for(error: BaseException) -> None:
    """The image may be an object of the notebook's, whose code may raise anything."""

    class Image(modal.Image):
        def __init__(self) -> None:
            """Nothing of the SDK's."""

        def __getattribute__(self, name: str) -> Any:
            raise error

    opening = Opening("odd", Machine(image_object=Image()), "local", ())
    assert opening._ready.wait(100)
    with pytest.raises(type(error)):
        opening.result()


def test_a_closed_app_leaves_no_hook() -> None:
    session = Session(name="hooks", backend="local")
    session.run("pass")
    app: Any = session.app
    backend, gone = app.backend, weakref.ref(app)
    watchers = len(backend._watchers)
    session.stop()
    assert len(backend._watchers) < watchers
    del app, session

    def is_collected() -> bool:
        gc.collect()
        return gone() is None

    eventually(is_collected)  # atexit keeps what is registered alive; a thread that ends keeps it for a moment


class Met(HeldApp):
    """Nothing at Modal. Who looks whether it is closed waits for another one who looks, if that is possible."""

    meeting = threading.Barrier(2)
    value = False

    @property
    def closed(self) -> bool:
        value = self.value
        with contextlib.suppress(threading.BrokenBarrierError):
            self.meeting.wait(0.5)
        return value

    @closed.setter
    def closed(self, value: bool) -> None:
        self.value = value

    def define(self, app: Any) -> Any:
        return app


def test_two_threads_close_once() -> None:
    app = Met(Machine(), Backend("local", None), ())
    heard: list[str] = []
    app.listen("run", lambda kind, _: heard.append(kind))
    threads = [threading.Thread(target=app.close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == ["closed"]
