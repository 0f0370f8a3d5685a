"""Send displays and results of a cell as events with the content of Jupyter's iopub messages.

Replaces ipykernel's publisher and display hook, which need sockets (their import takes 0.5 s and needs ZeroMQ).
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from datetime import date
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from traitlets import Any as AnyTrait

from modal_gpu_magic.container.output.streams import flush_streams
from modal_gpu_magic.container.process.interrupt import checkpoint
from modal_gpu_magic.wire.values.sound_text import sound

ATOMS = (bool, int, float, bytes, type(None))


def plain(value: Any) -> Any:
    """Copy a mime bundle into plain JSON values and bytes, since the cell may change the original at once.

    Raises:
        TypeError: the bundle holds a value that Jupyter cannot show.
    """
    if isinstance(value, str):
        return sound(str.__str__(value))
    if type(value) in ATOMS:
        return value
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"{value!r} is not JSON serializable")


class Publisher(DisplayPublisher):
    """`display`, `update_display` and `clear_output`."""

    sender = AnyTrait()

    def publish(  # type: ignore[override]  # IPython's own has a deprecated parameter more, or less, by version
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        """Send one mime bundle, after all text written before."""
        flush_streams()
        metadata = metadata or {}
        self._validate_data(data, metadata)  # type: ignore[no-untyped-call]  # IPython's
        self.sender.emit(
            "update_display_data" if update else "display_data",
            data=plain(data),
            metadata=plain(metadata),
            transient=plain(transient or {}),
        )
        checkpoint()

    def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's signature
        """Clear the cell's output. `wait`: clear only when new output arrives."""
        flush_streams()
        self.sender.emit("clear_output", wait=bool(wait))
        checkpoint()


class Hook(DisplayHook):
    """Sends the value of a cell's last expression."""

    sender = AnyTrait()
    showing = False
    """Whether a value is being shown: an error during that time fails the cell."""

    def start_displayhook(self) -> None:
        """Mark the start of showing a value."""
        self.showing = True

    def write_output_prompt(self) -> None:
        """Write nothing: the notebook writes `Out[n]:`."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        """Send the value in all its formats."""
        flush_streams()
        self.sender.emit("execute_result", data=plain(format_dict), metadata=plain(md_dict or {}))

    def finish_displayhook(self) -> None:
        """Mark the end of showing a value."""
        self.showing = False

    def take_underscores(self) -> None:
        """Continue from the notebook's `_`, `__`, `___`, as if the container had shown these values."""
        names: Any = self.shell.user_ns  # type: ignore[union-attr]  # `shell` is set
        self._, self.__, self.___ = (names.get(name, "") for name in ("_", "__", "___"))
