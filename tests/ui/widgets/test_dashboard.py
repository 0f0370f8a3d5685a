"""What a dashboard tells its page: each reading once, and all that are kept to a page that comes later."""

from __future__ import annotations

import struct
import time
from typing import Any

from modal_gpu_magic.metrics.processes import GpuProcess
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown
from modal_gpu_magic.ui.widgets.frames import MAX_READINGS_PER_NODE, frame


class Recorded(Dashboard):
    """Keeps what it sends."""

    def __init__(self, nodes: int) -> None:
        self.sent: list[tuple[str, bytes]] = []
        self.tables: list[Any] = []
        super().__init__(Shown("running", "running", time.time(), "H100", "cloud"), lambda: None, nodes)

    def send(self, content: Any, buffers: Any = None) -> None:
        """Do not send it."""
        self.sent.append((content["type"], b"".join(buffers or ())))
        self.tables += [content["processes"]] if "processes" in content else []

    def hello(self) -> tuple[str, bytes]:
        """A page asks; returns what it is told."""
        self._handle_custom_msg({"type": "hello"}, [])
        return self.sent[-1]


def reading(at: float, node: int = 0) -> Reading:
    return Reading((GpuSample(time=at, index=0, utilization=50.0, node=node),))


def test_a_page_that_comes_later_gets_the_whole_history_as_one_message() -> None:
    dashboard = Recorded(nodes=2)
    readings = [reading(100.0 + tick, node) for tick in range(3) for node in range(2)]
    for each in readings:
        dashboard.sample(each)
    frames = [frame(each, 100.0) for each in readings]
    assert dashboard.sent == [("frame", each) for each in frames]
    assert dashboard.hello() == ("history", b"".join(frames))


def test_of_a_long_run_each_node_s_last_readings_are_kept() -> None:
    dashboard = Recorded(nodes=2)
    for tick in range(MAX_READINGS_PER_NODE + 10):
        for node in range(2):
            dashboard.sample(reading(100.0 + tick, node))
    size = len(frame(reading(0.0), 0.0))
    kept = dashboard.hello()[1]
    assert len(kept) == size * 2 * MAX_READINGS_PER_NODE
    assert kept[:size] == frame(reading(110.0), 100.0)


def test_the_time_axis_begins_with_the_first_reading_which_is_older_than_the_dashboard() -> None:
    dashboard = Recorded(nodes=1)
    dashboard.sample(reading(time.time() - 2))
    dashboard.sample(reading(time.time()))
    times = [struct.unpack("<f", packed[:4])[0] for _, packed in dashboard.sent]
    assert times[0] == 0
    assert times[1] > 0


def test_processes_are_sent_when_they_change_and_to_a_page_that_comes_later() -> None:
    dashboard = Recorded(nodes=2)
    process = GpuProcess("GPU-a", 7, 10.0, "python")
    for node, processes in ((0, ()), (0, (process,)), (0, (process,)), (1, (process,)), (0, ())):
        dashboard.sample(Reading((GpuSample(time=1.0, index=3, uuid="GPU-a", node=node),), None, processes))
    first, second = (["node 0 GPU 3", 7, 10.0, "python"], ["node 1 GPU 3", 7, 10.0, "python"])
    assert dashboard.tables == [[first], [first, second], [second]]
    dashboard.hello()
    assert dashboard.tables[-1] == [second]
