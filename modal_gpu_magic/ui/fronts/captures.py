"""Widgets that capture a cell's output: while one does, a front end puts all that the cell shows into the widget."""

from __future__ import annotations

from typing import Any


class Captures:
    """`ipywidgets.Output`s in whose `with` the cell is: their `msg_id` is the cell's, as their messages say."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._ids)

    def take(self, message: dict[str, Any]) -> None:
        """A widget's message to its other end: the content of a `comm_msg` or `comm_close`."""
        data = message.get("data", {})
        state = data.get("state", {}) if data.get("method") == "update" else {}
        if state.get("msg_id"):
            self._ids[message["comm_id"]] = None
        elif "msg_id" in state or not data:  # `with` has ended, or the widget is closed
            self._ids.pop(message["comm_id"], None)

    def end(self) -> list[dict[str, Any]]:
        """The messages that end all of them: the cell is over, and what follows is not its output."""
        data = {"method": "update", "state": {"msg_id": ""}, "buffer_paths": []}
        ids, self._ids = self._ids, {}
        return [{"comm_id": comm_id, "data": data} for comm_id in ids]
