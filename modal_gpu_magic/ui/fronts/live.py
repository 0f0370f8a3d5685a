"""The dashboard of a run in its cell: when to open it, what to show, and what replaces it after the run."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.plan.machine.advice import arrived
from modal_gpu_magic.ui.fronts.receipt import status_words
from modal_gpu_magic.ui.widgets.frames import MAX_READINGS_PER_NODE
from modal_gpu_magic.ui.widgets.news import NEWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.front import About, State
    from modal_gpu_magic.ui.widgets.dashboard import Dashboard
    from modal_gpu_magic.ui.widgets.origin import Origin

ASK_SECONDS = 10.0
"""Run time before a cell without a dashboard has the button that asks for the browser's notifications."""
DASHBOARD_DELAY_SECONDS = 2.0
"""Run time before a dashboard opens (DESIGN section 5)."""


class Live:
    """State and readings of a run, and its dashboard once opened.

    Args:
        about: facts of the run.
        press: stops the run.
        origin: the page and the cell of the run.
        background: whether the notebook runs other cells meanwhile.
        notify_after: shortest run whose end a notification tells, seconds; None: no notifications.
    """

    def __init__(
        self,
        about: About,
        press: Callable[[], None],
        origin: Origin,
        *,
        background: bool = False,
        notify_after: float | None = None,
    ) -> None:
        self.about, self._press, self.origin = about, press, origin
        self._background, self._notify_after = background, notify_after
        self.history = History()
        self.began = time.monotonic()
        self.dashboard: Dashboard | None = None
        self._readings: deque[Reading] = deque(maxlen=MAX_READINGS_PER_NODE)
        self._notices: list[str] = []

    @property
    def due(self) -> bool:
        """Whether the run is long enough for a dashboard and has none yet."""
        return self.dashboard is None and self.seconds >= DASHBOARD_DELAY_SECONDS

    @property
    def seconds(self) -> float:
        """Time since the run began."""
        return time.monotonic() - self.began

    @property
    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Mime bundle of the dashboard, and its metadata; empty without a dashboard."""
        return self.dashboard._repr_mimebundle_() if self.dashboard is not None else ({}, {})

    def open(self, state: State) -> tuple[dict[str, Any], dict[str, Any]]:
        """Open the dashboard; return its mime bundle and metadata."""
        from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown

        shown = Shown(state.phase, "", 0.0, self._of_all(self.about.asked), self.about.backend, self.simulated)
        NEWS.ask_no_more()  # the dashboard has the button
        self.dashboard = Dashboard(shown, self._press, self.about.nodes, self.origin)
        self.dashboard.show(
            before=self.about.spent,
            notices=tuple(self._notices),
            background=self._background,
            notifies=self._notify_after is not None,
        )
        self.show(state)
        for reading in self._readings:
            self.dashboard.sample(reading)
        self._show_arrived_spec()
        return self.bundle

    def show(self, state: State) -> None:
        """Show a new state of the run."""
        if self.dashboard is not None:
            self.dashboard.show(
                phase=state.phase,
                text=status_words(state),
                detail=state.detail,
                since=time.time() - state.seconds,
                hourly=state.hourly,
                cost=state.cost,
            )

    def sample(self, reading: Reading) -> None:
        """Record a reading of nvidia-smi and show it."""
        self.history.add(reading)
        if self.dashboard is not None:
            self.dashboard.sample(reading)
            self._show_arrived_spec()
        else:
            self._readings.append(reading)

    def notice(self, text: str) -> None:
        """Show a warning beside the readings."""
        self._notices.append(text)
        if self.dashboard is not None:
            self.dashboard.notice(text)

    def watch(self, *, asks: bool) -> None:
        """Prepare the notification. `asks`: without a dashboard, the cell has the button that asks the browser."""
        if self._notify_after is None:
            return
        if self.seconds >= min(DASHBOARD_DELAY_SECONDS, self._notify_after / 2):
            NEWS.prepare()
        if asks and self.seconds >= ASK_SECONDS:
            NEWS.ask_below(self.origin)

    def end(self, news: str) -> None:
        """Show in the dashboard that the run has ended, and notify of a long one. Call `close` afterwards."""
        if self.dashboard is not None:
            self.dashboard.show(over=True)
        NEWS.ask_no_more(self.origin)
        if self._notify_after is not None and self.seconds >= self._notify_after:
            NEWS.tell(news)

    def close(self) -> None:
        """Close the widget, once no page shows it."""
        if self.dashboard is not None:
            self.dashboard.close()
            self.dashboard = None

    @property
    def simulated(self) -> bool:
        """Whether the GPUs are simulated: as the readings say, or before the first one as the backend implies."""
        simulated = self.history.simulated
        return self.about.simulated if simulated is None else simulated

    def _show_arrived_spec(self) -> None:
        """Show the GPUs that Modal provided, once a reading names them; simulated GPUs are always those requested."""
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
        """Return the spec of all nodes: `2 x H100:8` for a cluster."""
        return f"{self.about.nodes} x {node}" if self.about.nodes > 1 else node
