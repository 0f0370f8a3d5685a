"""A session from plain Python, against the real control plane: values, lost frames, an App that Modal has ended."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from modal._utils.async_utils import synchronizer
from modal_proto import api_pb2

from modal_gpu_magic import Machine, Session
from modal_gpu_magic.errors import MachineError, TransferError
from modal_gpu_magic.sdk.app import OpenApp
from modal_gpu_magic.session.run import lifecycle
from modal_gpu_magic.session.run.front import SilentFront
from modal_gpu_magic.wire.messages.events import Event
from modal_gpu_magic.wire.messages.seal import sealed


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One session for all; the control plane ends with this process."""
    started = Session("H100", name="tests", backend="local")
    yield started
    started.stop()


def app_of(session: Session) -> OpenApp:
    """The App that a session has open."""
    assert session._opening is not None
    return session._opening.result()


def stop_at_the_server(app: OpenApp) -> None:
    """What Modal does to an App without heartbeats: the kernel's side hears nothing of it."""
    border: Any = synchronizer
    client = border._translate_in(app.backend.client)

    async def stop() -> None:
        await client._stub.AppStop(api_pb2.AppStopRequest(app_id=app._app.app_id or ""))

    border.create_blocking(stop)()


def test_a_value_goes_and_comes(session: Session) -> None:
    session.namespace["there"] = [1, 2]
    assert session.run("there.append(3)\nlen(there)") == 3
    assert session.namespace["there"] == [1, 2, 3]


def test_output_and_receipt_are_seen(session: Session) -> None:
    front, began = SilentFront(), time.monotonic()
    session.run("print('hi')", front)
    assert front.text == "hi\n"
    assert front.receipt is not None
    assert (front.receipt.outcome, front.receipt.backend, front.receipt.simulated) == ("done", "local", True)
    assert front.receipt.ran is not None
    assert front.receipt.ran < time.monotonic() - began


def test_samples_of_simulated_gpus_are_marked_from_end_to_end(session: Session) -> None:
    front, began = SilentFront(), time.time()
    deadline = time.monotonic() + 90

    def is_told() -> bool:
        uses = front.receipt.uses if front.receipt is not None else ()
        return any(use.peak_mib is not None and use.peak_mib > 200 for use in uses)

    while not is_told() and time.monotonic() < deadline:  # a reading may come before the cell has its memory
        session.run("import time\nheld = bytearray(200 << 20)\ntime.sleep(1.2)\ndel held", front)
    assert front.receipt is not None
    assert all(sample.simulated for reading in front.readings for sample in reading.samples)
    (use,) = front.receipt.uses
    assert (use.simulated, use.name, use.total_mib) == (True, "NVIDIA H100 80GB HBM3", 81559)
    assert use.peak_mib is not None
    assert use.peak_mib > 200, "the container's own memory, in the place of the GPU's"
    assert (front.receipt.got, front.receipt.advice, front.receipt.simulated) == (None, None, True)
    assert "simulated" in repr(session.metrics)
    assert session.metrics.latest[0].time >= began


def test_what_cannot_travel_is_named_and_nothing_runs(session: Session) -> None:
    session.namespace["lock"] = threading.Lock()
    with pytest.raises(TransferError, match=r"Cannot send `lock`: .*--no-in lock"):
        session.run("ran = True\nlock")
    assert "ran" not in session.namespace


def test_a_press_that_came_by_two_ways_is_one(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one ends the container; a dashboard's Stop may come as a message and as an interrupt."""
    monkeypatch.setattr(lifecycle, "SAME_PRESS", 100.0)

    class Eager(SilentFront):
        def event(self, event: Event) -> None:
            if not self.events:
                assert session.status.press is not None
                session.status.press()
                session.status.press()
            super().event(event)

    pid = session.run("import os, time\nos.getpid()")
    with pytest.raises(KeyboardInterrupt):
        session.run("reached = True\nprint('ready', flush=True)\ntime.sleep(300)", Eager())
    assert session.run("reached, os.getpid()") == (True, pid)


def test_frames_that_the_reader_missed_are_asked_for(session: Session) -> None:
    """Another reader takes items from the queue, so some are lost for ours: every line is shown all the same, once."""
    session.run("pass")
    events, over, stolen = app_of(session).queue, threading.Event(), []

    def steal() -> None:
        while not over.is_set():
            with contextlib.suppress(queue.Empty):
                stolen.append(events.get(timeout=0.5))

    thief = threading.Thread(target=steal)
    thief.start()
    try:
        while not stolen:  # who of the two readers gets an item is a matter of chance
            front = SilentFront()
            session.run("import time\nfor i in range(40):\n    print(i)\n    time.sleep(0.06)", front)
            assert front.text.split() == [str(i) for i in range(40)]
    finally:
        over.set()
        thief.join()


def test_items_that_are_no_frames_are_left_alone(session: Session) -> None:
    front = SilentFront()
    session.run("import time")
    queue = app_of(session).queue
    for item in ("text", 5, b"", b"x" * 40, sealed(5), sealed(("a", 1)), sealed(("a", "b")), sealed(["frame"])):
        queue.put(item)
    session.run("for n in range(3): print(n); time.sleep(0.2)", front)
    assert front.text.split() == ["0", "1", "2"]


def test_an_app_that_modal_has_ended_is_opened_anew(session: Session) -> None:
    """As when the computer slept: no heartbeat, and the App is gone without our having closed it."""
    session.namespace["kept"] = 7
    session.run("lives = open('/dev/null')\nkept")
    stop_at_the_server(app_of(session))
    front = SilentFront()
    assert session.run("kept + 1", front) == 8
    assert any("Modal ended the App" in note for note in front.notes)
    assert any("Lost" in note and "lives" in note for note in front.notes)


def test_a_cell_s_own_error_is_raised_as_itself(session: Session) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        session.run("bound = 1\n1 / 0")
    assert "line 2" in "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]  # IPython's hook
    assert session.namespace["bound"] == 1


def test_two_sessions_do_not_see_each_other(session: Session) -> None:
    session.run("mine = 1")
    other = Session(Machine.of("H100"), name="other", backend="local")
    with pytest.raises(NameError):
        other.run("mine")
    other.stop()


def test_a_fetch_without_a_container_is_refused() -> None:
    with pytest.raises(MachineError, match="run the cell that made it again"):
        Session("H100", backend="local").fetch("x")
