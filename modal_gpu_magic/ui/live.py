"""A run's dashboard in its cell: when it appears, what its head says, and what stays of it when the run is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.plan.advice import arrived
from modal_gpu_magic.ui.picture import keepsake
from modal_gpu_magic.ui.receipt import status_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.front import About, State
    from modal_gpu_magic.ui.dashboard import Dashboard
    from modal_gpu_magic.ui.pages import Origin

APPEARS = 2.0
"""Seconds a run takes before it gets a dashboard (DESIGN section 5)."""
BILLED = frozenset({"starting", "running", "stopping"})
"""Phases in which a container is there, and costs."""


class Live:
    """What is known of a run that goes on, and its dashboard once there is one."""

    def __init__(self, about: About, press: Callable[[], None], origin: Origin) -> None:
        self.about, self._press, self._origin = about, press, origin
        self.history = History()
        self.began = time.monotonic()
        self.dashboard: Dashboard | None = None
        self._readings: list[Reading] = []
        self._spent, self._since, self._billed = 0.0, time.time(), False

    @property
    def due(self) -> bool:
        """Whether the run has taken long enough for a dashboard that it does not have yet."""
        return self.dashboard is None and time.monotonic() - self.began >= APPEARS

    @property
    def bundle(self) -> dict[str, Any]:
        """What shows the dashboard."""
        made: Any = self.dashboard._repr_mimebundle_() if self.dashboard is not None else {}
        return dict(made[0] if isinstance(made, tuple) else made)

    def open(self, state: State) -> dict[str, Any]:
        """Make the dashboard; returns what shows it."""
        from modal_gpu_magic.ui.dashboard import Dashboard, Shown

        shown = Shown(state.phase, "", 0.0, self.about.asked, self.about.backend, self.about.simulated)
        self.dashboard = Dashboard(shown, self._press, self.about.nodes, self._origin)
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
        if self.dashboard is not None:
            self.dashboard.notice(text)

    def end(self, receipt: str) -> dict[str, str]:
        """The run is over: what takes the dashboard's place; then `close` it."""
        if self.dashboard is not None:
            self.dashboard.show(over=True)
        return keepsake(receipt, self.history, simulated=self.about.simulated)

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

    def _got(self) -> None:
        """Say what arrived, once it is known; what is simulated is what was asked for."""
        if self.dashboard is None or self.dashboard.shown.got or self.about.simulated or not self.history.gpus:
            return
        own = [sample for sample in self.history.latest if sample.node == 0]
        spec = arrived(own[0].name, own[0].memory_total_mib, len(own)) if own else None
        if spec is not None:
            self.dashboard.show(got=str(spec))
