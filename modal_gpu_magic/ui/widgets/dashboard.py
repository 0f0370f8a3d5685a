"""The dashboard of a run: an anywidget fed with state (at changes) and readings (about once a second).

Nothing here needs the kernel's main thread: messages leave by themselves while a cell blocks it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget  # noqa: TID253 - this module is imported when a dashboard is made, and not before
from traitlets import Dict, Int, Unicode

from modal_gpu_magic.ui.widgets.frames import KEPT, frame, with_words
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.shell_channel import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.ui.widgets.journal import Act

STATIC = Path(__file__).parents[1] / "static"
WORDS = """{shown}
The dashboard would be seen here in a front end that shows widgets.
Interrupt the kernel (■) to stop the cell."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the head of a dashboard says. Times are seconds since the epoch, on this kernel's clock.

    Attributes:
        phase: `building`, `waiting`, `running` and so on; text: how it is said; since: when it began;
            detail: what is known of why it is so.
        asked, got: specs. simulated: the GPUs are not real. hourly: dollars; None is unknown.
        cost: dollars so far, at `now`; before: what the session's containers cost before it, their idling included.
        notices: what is wrong, one line each. over: nothing moves any more.
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


class Dashboard(anywidget.AnyWidget):
    """Shows one run while it goes on.

    Args:
        shown: what its head says at first. nodes: containers of the run.
        press: called when Stop is pressed; from any thread.
        origin: where the cell was run from; a page that is another one may follow.

    Attributes:
        asked: set when a page that was loaded anew asks to follow; whoever publishes clears it, and tells.
    """

    _esm = STATIC / "dashboard.js"
    _css = STATIC / "dashboard.css"

    state = Dict().tag(sync=True)
    nodes = Int(1).tag(sync=True)
    client = Unicode("").tag(sync=True)
    cell = Unicode("").tag(sync=True)

    def __init__(self, shown: Shown, press: Callable[[], None], nodes: int = 1, origin: Origin | None = None) -> None:
        self.shown = shown
        self.began = time.time()
        self._press = press
        self._frames: deque[bytes] = deque(maxlen=KEPT * nodes)
        self.asked = threading.Event()
        origin = origin or Origin()
        super().__init__(state=_state(shown), nodes=nodes, client=origin.client, cell=origin.cell)
        self.on_msg(self._heard)
        OURS.add(self.model_id)

    def show(self, **changes: Any) -> None:
        """Change what the head says."""
        self.shown = replace(self.shown, **changes)
        self.state = _state(self.shown)

    def sample(self, reading: Reading) -> None:
        """Show a reading. From any thread."""
        packed = frame(reading, self.began)
        self._frames.append(packed)
        self.send({"type": "frame"}, [packed])

    def notice(self, text: str) -> None:
        """Show a line that stays."""
        self.show(notices=(*self.shown.notices, text))

    def tell(self, acts: Iterable[Act]) -> None:
        """Tell the pages that follow what was published."""
        self.send({"type": "acts", "acts": [act._asdict() for act in acts]})

    def close(self) -> None:
        """End the widget."""
        OURS.discard(self.model_id)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return with_words(super()._repr_mimebundle_(**kwargs), WORDS.format(shown=self.shown.text or self.shown.phase))

    def _heard(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("type") == "stop":
            self._press()
            self.send({"type": "stopping"})
        elif content.get("type") == "hello":  # a view begins; it may come after some readings, or after all
            self.send({"type": "history"}, [b"".join(tuple(self._frames))])
        elif content.get("type") == "follow":
            self.asked.set()


def _state(shown: Shown) -> dict[str, Any]:
    return {**asdict(shown), "notices": list(shown.notices), "now": time.time()}
