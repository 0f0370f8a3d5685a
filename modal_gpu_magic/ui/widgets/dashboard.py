"""The dashboard of a run: an anywidget that receives the state at each change and readings about once a second.

Messages are sent from any thread, so they arrive while a cell blocks the kernel's main thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget  # noqa: TID253 - this module is imported when a dashboard opens
from traitlets import Bool, Dict, Int, Unicode

from modal_gpu_magic.ui.widgets.frames import MAX_READINGS_PER_NODE, frame, process_rows, with_text
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.shell_channel import WIDGET_COMM_IDS, hears

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.ui.widgets.journal import Act

STATIC = Path(__file__).parents[1] / "static"
FALLBACK_TEXT = """{shown}
To see the dashboard, trust the notebook: in JupyterLab, View > Activate Command Palette > Trust Notebook.
Outside JupyterLab, the dashboard needs Jupyter widgets. Interrupt the kernel (■) to stop the cell."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Contents of a dashboard's head. Times are seconds since the epoch, by the kernel's clock.

    Attributes:
        phase: `building`, `waiting`, `running` and so on.
        text: the phase as shown.
        since: start of the phase.
        asked: spec that the header asks for.
        backend: `cloud` or `local`.
        simulated: the GPUs are not real.
        hourly: price in dollars per hour; None: unknown.
        got: spec of the GPUs provided; empty: unknown.
        cost: dollars of this run so far; None: unknown.
        before: dollars that the session's containers cost before this run, including idle time; None: unknown.
        detail: reason for the phase, if known.
        notices: warnings, one line each.
        over: the run has ended.
        background: the notebook runs other cells meanwhile.
        notifies: a notification is to tell the end of a long run.
    """

    phase: str
    text: str
    since: float
    asked: str
    backend: str
    simulated: bool = False
    hourly: float | None = None
    got: str = ""
    cost: float | None = None
    before: float | None = 0.0
    detail: str = ""
    notices: tuple[str, ...] = ()
    over: bool = False
    background: bool = False
    notifies: bool = False


class Dashboard(anywidget.AnyWidget):
    """Shows one run while the cell runs.

    Args:
        shown: initial contents of the head.
        press: called from any thread when Stop is pressed.
        nodes: number of the run's containers.
        origin: page and cell of the run; other pages may follow.

    Attributes:
        asked: set when a page loaded during the run asks to follow. The publisher clears it and sends the output.
    """

    _esm = STATIC / "dashboard.js"
    _css = STATIC / "dashboard.css"

    state = Dict().tag(sync=True)
    nodes = Int(1).tag(sync=True)
    hears = Bool(True).tag(sync=True)
    client = Unicode("").tag(sync=True)
    cell = Unicode("").tag(sync=True)
    code = Unicode("").tag(sync=True)

    def __init__(self, shown: Shown, press: Callable[[], None], nodes: int = 1, origin: Origin | None = None) -> None:
        self.shown = shown
        self.began: float | None = None
        """Time of the first reading, at which the chart's time axis begins."""
        self._processes: dict[int, list[list[Any]]] = {}
        """The processes on the GPUs of each node."""
        self._press = press
        self._frames: deque[bytes] = deque(maxlen=MAX_READINGS_PER_NODE * nodes)
        self.asked = threading.Event()
        origin = origin or Origin()
        super().__init__(state=_state(shown), nodes=nodes, hears=hears(), **asdict(origin))
        self.on_msg(self._on_message)
        WIDGET_COMM_IDS.add(self.model_id)

    def show(self, **changes: Any) -> None:
        """Change the contents of the head."""
        self.shown = replace(self.shown, **changes)
        self.state = _state(self.shown)

    def sample(self, reading: Reading) -> None:
        """Show a reading. Called from any thread."""
        self.began = reading.time if self.began is None else self.began
        packed = frame(reading, self.began)
        self._frames.append(packed)
        node, rows = reading.node, process_rows(reading)
        is_new = rows != self._processes.get(node, [])
        self._processes[node] = rows
        self.send({"type": "frame", **(self._process_table() if is_new else {})}, [packed])

    def notice(self, text: str) -> None:
        """Add a warning."""
        self.show(notices=(*self.shown.notices, text))

    def tell(self, acts: Iterable[Act]) -> None:
        """Send published output to the pages that follow."""
        self.send({"type": "acts", "acts": [act._asdict() for act in acts]})

    def close(self) -> None:
        """Close the widget."""
        WIDGET_COMM_IDS.discard(self.model_id)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        fallback = FALLBACK_TEXT.format(shown=self.shown.text or self.shown.phase)
        return with_text(super()._repr_mimebundle_(**kwargs), fallback)

    def _process_table(self) -> dict[str, Any]:
        """Return the processes on all GPUs; in a cluster, with the node before the GPU."""
        tables = sorted(self._processes.items())
        prefixes = {node: f"node {node} GPU " if self.nodes > 1 else "GPU " for node, _ in tables}
        return {"processes": [[f"{prefixes[node]}{gpu}", *rest] for node, rows in tables for gpu, *rest in rows]}

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("type") == "stop":
            self._press()
            self.send({"type": "stopping"})
        elif content.get("type") == "hello":  # a view opened, maybe after some or all readings
            self.send({"type": "history", **self._process_table()}, [b"".join(tuple(self._frames))])
        elif content.get("type") == "follow":
            self.asked.set()


def _state(shown: Shown) -> dict[str, Any]:
    return {**asdict(shown), "notices": list(shown.notices), "now": time.time()}
