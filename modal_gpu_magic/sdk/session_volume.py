"""The Volume of a kernel's sessions: one a backend, opened when a session first saves, ended with the kernel."""

from __future__ import annotations

import atexit
import contextlib
import threading
from typing import Any

from modal_gpu_magic.sdk.heartbeats import heartbeats_to


class SessionVolume:
    """An ephemeral Volume, held open for the life of the kernel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._volume: Any = None

    def open(self, client: Any) -> Any:
        """Return the `modal.Volume`; create it at the first call."""
        import modal

        with self._lock:
            if self._volume is None:
                with heartbeats_to(self._heartbeat_failed):
                    self._volume = self._stack.enter_context(modal.Volume.ephemeral(client=client))
                atexit.register(self.close)
            return self._volume

    @property
    def id(self) -> str:
        """Modal's id of the Volume; empty: it is not open."""
        return "" if self._volume is None else str(self._volume.object_id)

    def close(self) -> None:
        """End the Volume: without its heartbeats, Modal removes it."""
        with self._lock:
            self._volume = None
            with contextlib.suppress(Exception):
                self._stack.close()

    def _heartbeat_failed(self, error: BaseException | None) -> None:
        """Do nothing: a Volume that Modal has ended is noticed by the next container, which has nothing to restore."""
