"""The end of an App: a thread does the work, so that ■ ends the wait for it and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modal_gpu_magic import Machine
from modal_gpu_magic.sdk import deployed
from modal_gpu_magic.sdk.app import Call
from modal_gpu_magic.sdk.client import Backend
from modal_gpu_magic.sdk.deployed import DeployedApp, Deployment
from modal_gpu_magic.sdk.held import HeldApp
from modal_gpu_magic.sdk.registry import Entry

SOON = 60.0
SLOW_END = """
import atexit, time
from modal_gpu_magic import Machine
from modal_gpu_magic.sdk.client import Backend
from modal_gpu_magic.sdk.held import HeldApp

class App(HeldApp):
    def define(self, app):
        return app

app = App(Machine(), Backend("local", None), ())
app._opened = True
atexit.register(app.close)
app._stack.callback(lambda: (time.sleep(0.5), print("ended", flush=True)))
"""
"""An App whose end at Modal takes half a second; `open` registers `close` in the same way."""


class Empty(HeldApp):
    """Nothing at Modal."""

    def define(self, app: Any) -> Any:
        return app


def press_when(begun: threading.Event) -> None:
    """Press ■ once the event is set."""

    def press() -> None:
        if begun.wait(SOON):
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()


@pytest.mark.parametrize("at", ["hooks", "reader", "stack"])
def test_a_press_during_the_close_ends_the_wait_alone(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Empty(Machine(), Backend("local", None), ())
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def step(*_: object) -> None:
        begun.set()
        gate.wait(SOON)

    app._opened, app._reader = True, threading.current_thread()
    app._stack.callback(ended.set)
    monkeypatch.setattr(app, "_wake_reader", step if at == "reader" else lambda _: None)
    if at != "reader":
        (app._hooks if at == "hooks" else app._stack).callback(step)
    press_when(begun)
    with pytest.raises(KeyboardInterrupt):
        app.close()
    gate.set()
    assert ended.wait(SOON)


def test_who_closes_later_waits_for_the_end_too() -> None:
    app = Empty(Machine(), Backend("local", None), ())
    gate, ended = threading.Event(), threading.Event()
    app._opened = True
    app._stack.callback(ended.set)
    app._stack.callback(gate.wait, SOON)
    app.close_soon()
    threading.Timer(0.2, gate.set).start()
    app.close()
    assert ended.is_set()


@pytest.mark.parametrize("before", ["", "app.close_soon()"], ids=["exit closes", "closed just before"])
def test_the_end_of_the_process_waits_for_the_end_of_its_app(before: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SLOW_END + before],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_the_last_words_of_a_container_are_without_the_lines_of_the_sdk() -> None:
    """`%modal_gpu stop` in another kernel ended the cell, and the notebook showed a line with the id of its input."""
    call = object.__new__(Call)
    lines = ("[modal-client] 2026-11-29T15:37:08+0000 Received a cancellation signal\n", "CUDA error\n")
    call._call = SimpleNamespace(logs=SimpleNamespace(stream=lambda: iter(lines)))
    assert call.last_words() == "CUDA error\n"


def test_a_press_while_a_detached_session_is_stopped_ends_the_wait_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gate = threading.Event(), threading.Event()
    stopped: list[str] = []

    def stop_app(name: str, _client: object) -> None:
        begun.set()
        gate.wait(SOON)
        stopped.append(name)

    monkeypatch.setattr(deployed, "stop_app", stop_app)
    entry = Entry("mine", "app-of-mine")
    app = DeployedApp(Machine(), Backend("local", None), (), Deployment(entry))
    closed = threading.Event()
    app.listen("run", lambda *_: closed.set())
    press_when(begun)
    with pytest.raises(KeyboardInterrupt):
        app.terminate()
    gate.set()
    assert closed.wait(SOON)
    assert stopped == [entry.app]
