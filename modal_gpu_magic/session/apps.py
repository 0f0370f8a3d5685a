"""The open Apps of the kernel: one per machine and backend, opened in a thread, shared by the sessions."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import BackendLost

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.app import OpenApp
    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.deployed import Deployment

ENDED_BY_MODAL = "Modal ended the App and its container; a new container starts."
STOPPED = "The App of this machine and its container were stopped; a new container starts."
ENDED_ELSEWHERE = "The detached session {} was ended; a new one starts."

Key = tuple["Machine", str, str]


class Opening:
    """An App that is being opened or is open. Opening continues if the waiting cell is stopped."""

    def __init__(
        self, machine: Machine, kind: Kind, packages: tuple[str, ...], deployment: Deployment | None = None
    ) -> None:
        self.machine, self.kind, self.packages, self.deployment = machine, kind, packages, deployment
        self.since = time.monotonic()
        self.connected_at = 0.0
        self.app: OpenApp | None = None
        self.error: BaseException | None = None
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        threading.Thread(target=self._open, name="modal-gpu-open", daemon=True).start()

    @property
    def connected(self) -> bool:
        """Whether the backend is connected; the image is being built from then on."""
        return self.connected_at > 0

    @property
    def ready(self) -> bool:
        """Whether opening has succeeded or failed."""
        return self._ready.is_set()

    @property
    def dead(self) -> bool:
        """Whether the App cannot run cells: opening failed, the App was closed, or Modal ended it or its queue."""
        return self.error is not None or (
            self.app is not None and (self.app.closed or self.app.is_ended or self.app.backend.lost is not None)
        )

    @property
    def is_ended_by_modal(self) -> bool:
        """Whether the App has ended, and its backend has not: what was saved is still in the session Volume."""
        return self.app is not None and self.app.backend.lost is None and not self.app.closed

    @property
    def why_dead(self) -> str:
        """The sentence for a notebook whose App was open and cannot run cells any more; empty: it was never open."""
        if self.app is None:
            return ""
        if self.app.backend.lost is not None:
            return "The local control plane has ended; a new one is started."
        if self.deployment is not None:
            return ENDED_ELSEWHERE.format(self.deployment.entry.session)
        return STOPPED if self.app.closed else ENDED_BY_MODAL

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Call `callback` exactly once: at once if the App is ready, else from the opening thread."""
        with self._lock:
            ready = self.ready
            if not ready:
                self._callbacks.append(callback)
        if ready:
            callback()

    def result(self) -> OpenApp:
        """The App.

        Raises:
            ModalGpuError: the App could not be opened.
        """
        if self.error is not None:
            raise self.error
        if self.app is None:
            raise BackendLost("the App is not open yet.")
        return self.app

    def _open(self) -> None:
        from modal_gpu_magic.sdk.app import OpenApp
        from modal_gpu_magic.sdk.client import connect
        from modal_gpu_magic.sdk.deployed import DeployedApp

        try:
            app: OpenApp
            if self.deployment is None:
                backend = connect(self.kind)
                app = OpenApp(self.machine, backend, self.packages)
            else:
                backend = connect(self.kind, lasting=True)
                app = DeployedApp(self.machine, backend, self.packages, self.deployment)
            self.connected_at = time.monotonic()
            app.open()
            self.app = app
        except BaseException as error:  # noqa: BLE001 - raised again by result(), on the cell's thread
            self.error = error
        with self._lock:
            self._ready.set()
            waiting, self._callbacks = self._callbacks, []
        for callback in waiting:
            callback()


class Apps:
    """All openings of the kernel by machine and backend."""

    def __init__(self) -> None:
        self._openings: dict[Key, Opening] = {}

    def opening(
        self, machine: Machine, kind: Kind, packages: tuple[str, ...], deployment: Deployment | None = None
    ) -> Opening:
        """The App of a machine, or of a detached session: an existing one, or a new one that starts to open."""
        key = (machine.identity, kind, "" if deployment is None else deployment.entry.session)
        found = self._openings.get(key)
        if found is None or found.dead or found.deployment != deployment:
            found = self._openings[key] = Opening(machine, kind, packages, deployment)
        return found

    def close(self, opening: Opening) -> None:
        """Close an App: an ephemeral one ends with its containers, a deployed one goes on."""
        keys = [key for key, each in self._openings.items() if each is opening]
        for key in keys:
            del self._openings[key]
            opening.when_ready(lambda: opening.app.close() if opening.app else None)
