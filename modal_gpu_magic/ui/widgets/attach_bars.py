"""A widget without a view: below cells whose run goes on in a detached session, each page shows a bar with Attach.

The page reads from the notebook's outputs which sessions it names (`js/src/recorded.ts`), and asks; the kernel answers
for the sessions that exist. Attach runs the line of that answer.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

import anywidget  # noqa: TID253 - this module is imported when widgets are

from modal_gpu_magic.ui.widgets.shell_channel import WIDGET_COMM_IDS

if TYPE_CHECKING:
    from collections.abc import Callable

    Find = Callable[[frozenset[str]], "list[FoundSession]"]

STATIC: Final = Path(__file__).parents[1] / "static"
MOST_NAMES: Final = 100
"""Most sessions that a notebook asks about."""


class FoundSession(TypedDict):
    """A session that exists: its name, its last run, what the run does, and the line that continues the session."""

    session: str
    run: str
    state: str
    line: str


class AttachBars(anywidget.AnyWidget):
    """Answers the pages by `find`, which is called in a thread: it may ask Modal."""

    _esm = STATIC / "attach.js"
    _css = STATIC / "attach.css"

    def __init__(self, find: Find) -> None:
        self._find = find
        self._one_at_a_time = threading.Lock()
        super().__init__()
        self.on_msg(self._on_message)
        WIDGET_COMM_IDS.add(self.model_id)

    def look(self) -> None:
        """Have the pages ask again."""
        self.send({"type": "look"})

    def close(self) -> None:
        """Close the widget; the pages remove their bars."""
        WIDGET_COMM_IDS.discard(self.model_id)
        super().close()

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        names = content.get("sessions")
        if content.get("type") == "ask" and isinstance(names, list):
            asked = frozenset(name for name in names[:MOST_NAMES] if isinstance(name, str))
            threading.Thread(target=self._answer, args=(asked,), name="modal-gpu-bars", daemon=True).start()

    def _answer(self, names: frozenset[str]) -> None:
        with self._one_at_a_time:
            self.send({"type": "found", "found": self._find(names)})
