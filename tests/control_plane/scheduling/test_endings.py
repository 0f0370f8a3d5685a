"""How calls and containers end: errors, crashes, time limits, cancellation, a container that is taken away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import modal
import pytest
from modal_proto import api_pb2

from tests.control_plane.plane import CANCEL_GRACE_SECONDS, Plane, eventually, texts
from tests.control_plane.subjects import make_subjects

SLEEP = "import time\nfor _ in range(3000): time.sleep(0.1)"
SWALLOW = """
import time
end = time.monotonic() + 300
while time.monotonic() < end:
    try:
        time.sleep(0.05)
    except BaseException:
        pass
"""


@pytest.fixture(scope="module")
def subjects(client: Any) -> Iterator[SimpleNamespace]:
    """The app, held open as a notebook holds it."""
    made = make_subjects()
    with made.app.run(client=client):
        yield made


@pytest.fixture(scope="module")
def box(subjects: SimpleNamespace) -> Any:
    """One instance for all; its container dies often."""
    return subjects.Box()


def begun(box: Any, source: str, mark: Path) -> Any:
    """Spawn a call that makes `mark`, and wait until it has."""
    call = box.run.spawn(f"open(mark, 'w').close()\n{source}", mark=str(mark))
    eventually(mark.exists)
    return call


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("1 / 0", ZeroDivisionError, "division by zero"),
        ("raise KeyError('k')", KeyError, "k"),
        ("import threading; result = threading.Lock()", TypeError, "cannot pickle"),
        ("import os; os._exit(3)", modal.exception.RemoteError, r"^Runner failed with exit code: 3$"),
        (
            "import os; os.kill(os.getpid(), 9)",
            modal.exception.RemoteError,
            r"^Runner failed with exit code: -9 \(SIGKILL\)$",
        ),
        (
            "import ctypes; ctypes.string_at(0)",
            modal.exception.RemoteError,
            r"^Runner failed with exit code: -11 \(SIGSEGV\)$",
        ),
    ],
)
def test_the_caller_is_told(box: Any, source: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        box.run.remote(source)
    assert box.run.remote("result = 'next'") == "next"


def test_the_error_of_a_generator_is_raised_where_it_is_read(box: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        list(box.stream.remote_gen("not a number"))


def test_the_time_limit_is_enforced(subjects: SimpleNamespace) -> None:
    quick = subjects.Box.with_options(timeout=1)()
    with pytest.raises(modal.exception.FunctionTimeoutError, match="timeout of 1s"):
        quick.run.remote(SLEEP)
    count = 0
    while not count:
        with contextlib.suppress(modal.exception.FunctionTimeoutError):  # a second is short on a busy machine
            count = quick.add.remote()[0]
    assert count == 1, "its container went with it"


def failing_apps() -> dict[str, tuple[modal.App, Any]]:
    """Apps whose containers do not come up, each in its way."""
    slow, entering, missing = modal.App("slow"), modal.App("entering"), modal.App("missing")

    class Unready:
        def __reduce__(self) -> tuple[Any, ...]:
            return (__import__, ("mgm_not_in_the_container",))

    unready = Unready()

    @slow.cls(serialized=True, startup_timeout=1)
    class Slow:
        @modal.enter()
        def start(self) -> None:
            import time

            time.sleep(300)

        @modal.method()
        def call(self) -> None: ...

    @entering.cls(serialized=True)
    class Entering:
        @modal.enter()
        def start(self) -> None:
            raise LookupError("no weights")

        @modal.method()
        def call(self) -> None: ...

    @missing.function(serialized=True)
    def call() -> Any:
        return unready

    return {"slow": (slow, Slow), "entering": (entering, Entering), "missing": (missing, SimpleNamespace(call=call))}


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("slow", modal.exception.FunctionTimeoutError, "Container startup hit its timeout of 1s"),
        ("entering", LookupError, "no weights"),
        ("missing", modal.exception.DeserializationError, "mgm_not_in_the_container"),
    ],
)
def test_a_container_that_cannot_start_says_why(client: Any, name: str, error: type[Exception], text: str) -> None:
    app, subject = failing_apps()[name]
    with app.run(client=client):
        called = subject() if isinstance(subject, modal.Cls) else subject
        calls = [called.call.spawn() for _ in range(2)]
        for call in calls:
            with pytest.raises(error, match=text):
                call.get(timeout=60)


def test_a_cancelled_call_ends_at_once_and_the_container_keeps_its_state(box: Any, tmp_path: Path) -> None:
    """It would sleep for five minutes."""
    count, pid, _ = box.add.remote()
    call = begun(box, SLEEP, tmp_path / "begun")
    call.cancel()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get()
    assert box.add.remote() == (count + 1, pid, "box")


def test_a_call_that_waits_is_cancelled_before_it_begins(box: Any, tmp_path: Path) -> None:
    first = begun(box, f"{wait_for(tmp_path / 'go')}\nself.seen = 'first'", tmp_path / "begun")
    second = box.run.spawn("self.seen = 'second'")
    second.cancel()
    (tmp_path / "go").touch()
    first.get()
    assert box.run.remote("result = self.seen") == "first"


def wait_for(path: Path) -> str:
    """Statements that wait until a file is there."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)"


def test_terminate_after_a_plain_cancel_ends_what_swallows_it(box: Any, tmp_path: Path) -> None:
    pid = box.add.remote()[1]
    call = begun(box, SWALLOW, tmp_path / "begun")
    call.cancel()
    call.cancel(terminate_containers=True)
    assert box.add.remote()[1] != pid


def test_a_container_that_swallows_a_cancellation_is_killed_after_the_grace(box: Any, tmp_path: Path) -> None:
    pid = box.add.remote()[1]
    call = begun(box, SWALLOW, tmp_path / "begun")
    started = time.monotonic()
    call.cancel()
    assert box.add.remote()[1] != pid
    assert time.monotonic() - started >= CANCEL_GRACE_SECONDS


def test_a_container_that_is_taken_away_leaves_its_input_to_another(
    box: Any, client: Any, plane: Plane, tmp_path: Path
) -> None:
    """What Modal does at a preemption: the same input runs again, from the start, elsewhere."""
    task, pid = box.run.remote("import os; result = os.environ['MODAL_TASK_ID'], os.getpid()")
    call = begun(box, f"{wait_for(tmp_path / 'go')}\nresult = os.getpid()", tmp_path / "begun")
    stop(client, task)
    eventually(lambda: pid not in plane.owned())
    (tmp_path / "go").touch()
    assert call.get(timeout=60) != pid
    assert pid not in plane.owned()


def stop(client: Any, task: str) -> None:
    """`modal container stop`, which the SDK offers only as a command."""
    from modal._utils.async_utils import synchronizer

    async def ask() -> None:
        inner = synchronizer._translate_in(client)  # type: ignore[no-untyped-call]
        await inner._stub.ContainerStop(api_pb2.ContainerStopRequest(task_id=task))

    synchronizer.create_blocking(ask)()


def test_the_log_of_a_call_has_what_it_printed_and_how_it_died(box: Any) -> None:
    source = "import os, sys, time\nprint('out ü', flush=True)\nprint('err', file=sys.stderr, flush=True)\ntime.sleep(0.2)\nos._exit(7)"
    call = box.run.spawn(source)
    with pytest.raises(modal.exception.RemoteError):
        call.get()
    entries = list(call.logs.stream(timeout=60))
    assert "out ü\n" in texts([entry for entry in entries if entry.source == "stdout"])
    assert "err\n" in texts([entry for entry in entries if entry.source == "stderr"])
    assert "Runner failed with exit code: 7" in texts(entries)
    newest = list(call.logs.tail(2))
    assert [entry.message for entry in newest] == [entry.message for entry in entries[-2:]]
    assert texts(list(call.logs.tail(50, source="stdout"))) == "out ü\n"


def test_leaving_the_app_runs_exit_hooks_and_ends_every_process(client: Any, plane: Plane, tmp_path: Path) -> None:
    made = make_subjects()
    with made.app.run(client=client):
        idle, busy = made.Box(name="idle"), made.Box(name="busy")
        for each in (idle, busy):
            each.run.remote("self.farewell = path", path=str(tmp_path / each.add.remote()[2]))
        pids = {idle.add.remote()[1], busy.add.remote()[1]}
        busy.run.spawn(SLEEP)
        add = idle.add
        assert pids <= set(plane.owned())
    eventually(lambda: not pids & set(plane.owned()))
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["busy", "idle"]
    with pytest.raises(modal.exception.NotFoundError, match="stopped"):
        add.remote()
