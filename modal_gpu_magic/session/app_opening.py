"""The App of one session, which is opened in a thread."""

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
ENDED_WITH_ITS_RUN = "The App was ended with its last run, which did not stop; a new container starts."
ENDED_ELSEWHERE = "The detached session {} was ended; a new one starts."


class Opening:
    """An App that is being opened or is open. Opening continues if the waiting cell is stopped.

    Args:
        session: name of the session.
        machine: the session's machine.
        kind: the backend.
        packages: packages that join the image of the machine.
        deployment: what makes the session a detached one; None: the App ends with the kernel.
    """

    def __init__(
        self,
        session: str,
        machine: Machine,
        kind: Kind,
        packages: tuple[str, ...],
        deployment: Deployment | None = None,
    ) -> None:
        self.session, self.machine, self.kind = session, machine, kind
        self.packages, self.deployment = packages, deployment
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
            self.app is not None and (self.app.closed or self.app.is_ended or self.app.backend.has_ended())
        )

    @property
    def leaves_saved_state(self) -> bool:
        """Whether the App has ended, and its backend has not: what was saved is still in the session Volume."""
        return self.app is not None and self.app.backend.lost is None

    @property
    def why_dead(self) -> str:
        """The sentence for a notebook whose App was open and cannot run cells any more; empty: it was never open."""
        if self.app is None:
            return ""
        if self.app.backend.lost is not None:
            return "The local control plane has ended; a new one is started."
        if self.deployment is not None:
            return ENDED_ELSEWHERE.format(self.deployment.entry.session)
        return ENDED_WITH_ITS_RUN if self.app.closed else ENDED_BY_MODAL

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

    def close(self) -> None:
        """Close the App, once it is ready: an ephemeral one ends with its container, a deployed one goes on."""
        self.when_ready(lambda: self.app.close() if self.app is not None else None)

    def _open(self) -> None:
        from modal_gpu_magic.sdk.app import OpenApp
        from modal_gpu_magic.sdk.client import connect
        from modal_gpu_magic.sdk.deployed import DeployedApp

        try:
            app: OpenApp
            if self.deployment is None:
                backend = connect(self.kind)
                app = OpenApp(self.machine, backend, self.packages, self.session)
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
