"""A widget without a view: each page that loads the notebook sends its time zone to the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget  # noqa: TID253 - this module is imported when widgets are

from modal_gpu_magic.ui.widgets.shell_channel import WIDGET_COMM_IDS

if TYPE_CHECKING:
    from collections.abc import Callable

_SCRIPT = """
export default {
  initialize({ model }) {
    model.send({ type: "zone", zone: Intl.DateTimeFormat().resolvedOptions().timeZone });
  },
};
"""


class TimeZone(anywidget.AnyWidget):
    """Calls `hear` with the name of a page's time zone, such as `Europe/Berlin`, from any thread."""

    _esm = _SCRIPT

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        super().__init__()
        self.on_msg(self._on_message)
        WIDGET_COMM_IDS.add(self.model_id)

    def _on_message(self, _widget: object, content: dict[str, Any], _buffers: object) -> None:
        if content.get("type") == "zone":
            self._hear(str(content.get("zone") or ""))
