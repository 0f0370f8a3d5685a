"""Output widgets that capture a cell's output: a front end puts the cell's output into an active one."""

from __future__ import annotations

from typing import Any


class Captures:
    """The active `ipywidgets.Output`s: those whose last message set `msg_id` to the cell's request."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._ids)

    def take(self, message: dict[str, Any]) -> None:
        """Process a message from a widget: the content of a `comm_msg` or `comm_close`."""
        data = message.get("data", {})
        state = data.get("state", {}) if data.get("method") == "update" else {}
        if state.get("msg_id"):
            self._ids[message["comm_id"]] = None
        elif "msg_id" in state or not data:  # the `with` block ended, or the widget was closed
            self._ids.pop(message["comm_id"], None)

    def end(self) -> list[dict[str, Any]]:
        """Return messages that deactivate all captures, because later output is not the cell's."""
        data = {"method": "update", "state": {"msg_id": ""}, "buffer_paths": []}
        ids, self._ids = self._ids, {}
        return [{"comm_id": comm_id, "data": data} for comm_id in ids]
