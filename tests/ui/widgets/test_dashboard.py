"""What a dashboard tells its page: each reading once, and all that are kept to a page that comes later."""

from __future__ import annotations

import time
from typing import Any

from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown
from modal_gpu_magic.ui.widgets.frames import MAX_READINGS_PER_NODE, frame


class Recorded(Dashboard):
    """Keeps what it sends."""

    def __init__(self, nodes: int) -> None:
        self.sent: list[tuple[str, bytes]] = []
        super().__init__(Shown("running", "running", time.time(), "H100", "cloud"), lambda: None, nodes)

    def send(self, content: Any, buffers: Any = None) -> None:
        """Do not send it."""
        self.sent.append((content["type"], b"".join(buffers or ())))

    def hello(self) -> tuple[str, bytes]:
        """A page asks; returns what it is told."""
        self._handle_custom_msg({"type": "hello"}, [])
        return self.sent[-1]


def reading(at: float, node: int = 0) -> Reading:
    return Reading((GpuSample(time=at, index=0, utilization=50.0, node=node),))


def test_a_page_that_comes_later_gets_the_whole_history_as_one_message() -> None:
    dashboard = Recorded(nodes=2)
    readings = [reading(dashboard.began + tick, node) for tick in range(3) for node in range(2)]
    for each in readings:
        dashboard.sample(each)
    frames = [frame(each, dashboard.began) for each in readings]
    assert dashboard.sent == [("frame", each) for each in frames]
    assert dashboard.hello() == ("history", b"".join(frames))


def test_of_a_long_run_each_node_s_last_readings_are_kept() -> None:
    dashboard = Recorded(nodes=2)
    for tick in range(MAX_READINGS_PER_NODE + 10):
        for node in range(2):
            dashboard.sample(reading(dashboard.began + tick, node))
    size = len(frame(reading(0.0), 0.0))
    kept = dashboard.hello()[1]
    assert len(kept) == size * 2 * MAX_READINGS_PER_NODE
    assert kept[:size] == frame(reading(dashboard.began + 10), dashboard.began)
