"""Tests of the threads of this package: a cell's hooks of `threading` are for the user's threads alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic.container.process import output_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTERS = {"settrace": threading.settrace, "setprofile": threading.setprofile}


@pytest.fixture
def hooks() -> Iterator[None]:
    yield
    for set_hook in SETTERS.values():
        set_hook(None)


def _raises(*_event: object) -> Any:
    raise ZeroDivisionError


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("name", SETTERS)
def test_a_hook_that_raises_stops_no_thread_of_this_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    done = threading.Event()
    SETTERS[name](_raises)
    output_owner.daemon("modal-gpu-test", done.set).join()
    assert done.is_set()
    assert not reported


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize("name", SETTERS)
def test_a_hook_sees_the_users_threads_and_none_of_this_package(name: str) -> None:
    seen: set[int] = set()
    is_over = threading.Event()

    def hook(*_event: object) -> Any:
        seen.add(threading.get_ident())

    def work() -> list[int]:
        return sorted([2, 1])

    SETTERS[name](hook)
    found: list[object] = []

    def ours() -> None:
        found.extend((work(), sys.gettrace(), sys.getprofile()))
        is_over.wait()

    our_thread = output_owner.daemon("modal-gpu-test", ours)
    user_thread = threading.Thread(target=work)
    user_thread.start()
    user_thread.join()
    is_over.set()  # before that, no other thread may have our thread's number
    our_thread.join()
    assert seen & {user_thread.ident, our_thread.ident} == {user_thread.ident}  # a test before may start a thread now
    assert found == [[1, 2], None, None]


def test_an_error_in_a_thread_goes_to_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(output_owner, "fault_logs", [written.append])
    output_owner.daemon("modal-gpu-test", lambda: 1 / 0).join()
    assert written[0].startswith("modal-gpu-test: Traceback")
    assert "ZeroDivisionError" in written[0]


COLLECTED_WHILE_LISTED = """
import gc, threading
from modal_gpu_magic.container.process.output_owner import adopt_threads

def leave_garbage():
    local = threading.local()
    local.value = cycle = [local]
    cycle.append(cycle)

is_over = threading.Event()
threads = [threading.Thread(target=is_over.wait) for _ in range(20)]
for thread in threads:
    thread.start()
gc.collect()
gc.set_threshold(1)
for _ in range(200):
    leave_garbage()
    adopt_threads(object())
assert gc.isenabled()
gc.disable()
adopt_threads(object())
assert not gc.isenabled()
is_over.set()
"""


def test_garbage_may_be_collected_while_threads_are_listed() -> None:
    """Python before 3.12 waits for ever for a lock of its own if thread-local garbage is collected meanwhile."""
    subprocess.run([sys.executable, "-c", COLLECTED_WHILE_LISTED], check=True, timeout=110)
