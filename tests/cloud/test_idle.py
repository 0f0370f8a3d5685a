"""An App or a queue that Modal ends between two cells: silence, and the next cell says what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from modal_proto import api_pb2

from tests.cloud.cloud import Cloud, cloud
from tests.e2e.detached_user import SESSION, wait_until
from tests.e2e.kernel import Kernel

OPENED: Final = f"{SESSION.format('default')}._opening.app"
APPS: Final = """\
import gc
gc.collect()
print(sum(type(each).__name__ == "OpenApp" for each in gc.get_objects()))
"""
SECONDS: Final = 2.5
"""Seconds to listen for what the kernel says between cells: some heartbeats of the App."""


@pytest.fixture(scope="module")
def far() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


@pytest.fixture
def kernel(far: Cloud) -> Iterator[Kernel]:
    with Kernel(env={**far.environ, "MODAL_HEARTBEAT_INTERVAL": "0.3"}) as kernel:
        kernel.load()
        assert kernel.remote("stays = open('/dev/null')\nnumber = 1", "T4", timeout=100).ok
        yield kernel


def ends_app(kernel: Kernel, far: Cloud) -> None:
    far.ask("AppStop", api_pb2.AppStopRequest(app_id=kernel.print(f"{OPENED}._app.app_id")))


def ends_queue(kernel: Kernel, far: Cloud) -> None:
    far.ask("QueueDelete", api_pb2.QueueDeleteRequest(queue_id=kernel.print(f"{OPENED}.queue.object_id")))


def ends_both(kernel: Kernel, far: Cloud) -> None:
    ends_app(kernel, far)
    ends_queue(kernel, far)


@pytest.mark.parametrize("end", [ends_app, ends_queue, ends_both])
def test_the_end_of_an_idle_app_is_said_by_the_next_cell_alone(kernel: Kernel, far: Cloud, end: Any) -> None:
    end(kernel, far)
    said = [m for m in kernel.listen(SECONDS) if m.kind != "status"]
    assert not said
    result = kernel.remote("number + 1", "T4", timeout=100)
    assert result.value() == "2"
    assert result.said.count("Modal ended the App") == 1
    assert "stays" in result.said
    assert not result.stderr
    again = kernel.remote("number + 1", "T4")
    assert (again.value(), "Modal ended the App" in again.said) == ("2", False)
    wait_until(lambda: kernel.run(APPS).stdout == "1\n")  # the App that has ended is not held


def test_late_heartbeats_end_nothing(kernel: Kernel, far: Cloud) -> None:
    """Heartbeats are held up during two cells, for many of their intervals."""
    names = ("AppHeartbeat", "QueueHeartbeat", "ContainerHeartbeat")
    for name in names:
        far.gates.close(name)
    source = "import time\nfor step in range(8):\n    print(step, flush=True)\n    time.sleep(0.3)\nnumber += 1\nnumber"
    results = [kernel.remote(source, "T4") for _ in range(2)]
    wait_until(lambda: far.gates.reached("AppHeartbeat"))
    for name in names:
        far.gates.open(name)
    assert [result.value() for result in results] == ["2", "3"]
    assert {result.stdout for result in results} == {"".join(f"{step}\n" for step in range(8))}
    assert not [m for m in kernel.listen(SECONDS) if m.kind != "status"]
    assert kernel.remote("number", "T4").value() == "3"
