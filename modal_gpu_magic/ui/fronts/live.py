"""A run's dashboard in its cell: when it appears, what its head says, and what stays of it when the run is over."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.plan.machine.advice import arrived
from modal_gpu_magic.ui.fronts.picture import keepsake
from modal_gpu_magic.ui.fronts.receipt import status_words
from modal_gpu_magic.ui.widgets.frames import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.ui.widgets.dashboard import Dashboard
    from modal_gpu_magic.ui.widgets.origin import Origin

APPEARS = 2.0
"""Seconds a run takes before it gets a dashboard (DESIGN section 5)."""
BILLED = frozenset({"starting", "running", "restarted", "stopping"})
"""Phases in which a container is there, and costs."""


class Live:
    """What is known of a run that goes on, and its dashboard once there is one."""

    def __init__(self, about: About, press: Callable[[], None], origin: Origin) -> None:
        self.about, self._press, self._origin = about, press, origin
        self.history = History()
        self.began = time.monotonic()
        self.dashboard: Dashboard | None = None
        self._readings: deque[Reading] = deque(maxlen=KEPT)
        self._notices: list[str] = []
        self._spent, self._since, self._billed = 0.0, time.time(), False

    @property
    def due(self) -> bool:
        """Whether the run has taken long enough for a dashboard that it does not have yet."""
        return self.dashboard is None and time.monotonic() - self.began >= APPEARS

    @property
    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What shows the dashboard, and its metadata."""
        return self.dashboard._repr_mimebundle_() if self.dashboard is not None else ({}, {})

    def open(self, state: State) -> tuple[dict[str, Any], dict[str, Any]]:
        """Make the dashboard; returns what shows it, and its metadata."""
        from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown

        shown = Shown(state.phase, "", 0.0, self._of_all(self.about.asked), self.about.backend, self.simulated)
        self.dashboard = Dashboard(shown, self._press, self.about.nodes, self._origin)
        self.dashboard.show(before=self.about.spent, notices=tuple(self._notices))
        self.show(state)
        for reading in self._readings:
            self.dashboard.sample(reading)
        self._got()
        return self.bundle

    def show(self, state: State) -> None:
        """The run is in this state."""
        self._count(billed=state.phase in BILLED)
        if self.dashboard is not None:
            hourly = self.about.hourly
            self.dashboard.show(
                phase=state.phase,
                text=status_words(state),
                detail=state.detail,
                since=time.time() - state.seconds,
                hourly=hourly if self._billed else 0.0,
                cost=None if hourly is None else self._spent,
            )

    def sample(self, reading: Reading) -> None:
        """nvidia-smi said something."""
        self.history.add(reading)
        if self.dashboard is not None:
            self.dashboard.sample(reading)
            self._got()
        else:
            self._readings.append(reading)

    def notice(self, text: str) -> None:
        """Something is to be seen beside the numbers."""
        self._notices.append(text)
        if self.dashboard is not None:
            self.dashboard.notice(text)

    def end(self, receipt: str, heading: tuple[str, str] | None = None) -> dict[str, str]:
        """The run is over: what takes the dashboard's place; then `close` it."""
        if self.dashboard is not None:
            self.dashboard.show(over=True)
        return keepsake(receipt, self.history, simulated=self.simulated, heading=heading)

    def close(self) -> None:
        """End the widget, once nothing shows it any more."""
        if self.dashboard is not None:
            self.dashboard.close()
            self.dashboard = None

    def _count(self, *, billed: bool) -> None:
        now = time.time()
        if self._billed and self.about.hourly is not None:
            self._spent += self.about.hourly * (now - self._since) / 3600
        self._since, self._billed = now, billed

    @property
    def simulated(self) -> bool:
        """What the readings say; before the first one, what is to be expected of the backend."""
        told = self.history.simulated
        return self.about.simulated if told is None else told

    def _got(self) -> None:
        """Say what arrived, once it is known; what is simulated is what was asked for."""
        if self.dashboard is None or self.dashboard.shown.got or not self.history.gpus:
            return
        if self.dashboard.shown.simulated != self.simulated:
            self.dashboard.show(simulated=self.simulated)
        if self.simulated:
            return
        own = [sample for sample in self.history.latest if sample.node == 0]
        spec = arrived(own[0].name, own[0].memory_total_mib, len(own)) if own else None
        if spec is not None:
            self.dashboard.show(got=self._of_all(str(spec)))

    def _of_all(self, node: str) -> str:
        """`2 x H100:8`, of a cluster."""
        return f"{self.about.nodes} x {node}" if self.about.nodes > 1 else node
