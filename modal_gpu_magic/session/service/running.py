"""A running service: its App, and the state that calls of its methods need."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import CellTimeout, ContainerLost, ServiceError, shown_alone
from modal_gpu_magic.line.units import write_duration
from modal_gpu_magic.session.run.conclude import own_error
from modal_gpu_magic.session.run.interrupts import stopped
from modal_gpu_magic.wire.calls import Fault

if TYPE_CHECKING:
    from modal_gpu_magic.plan.service.serving import Serving
    from modal_gpu_magic.sdk.service import ServiceApp
    from modal_gpu_magic.session.service.usage import Usage

Watch = Callable[[Iterator[Any], "int | None", str], Iterator[Any]]
"""`watch(results, total, title)`: iterates over the results of a map and shows its progress."""


class RunningService:
    """A service as its methods see it.

    Attributes:
        name: the service's name.
        serving: the functions and the limits of the containers.
        namespace: the notebook's variables.
        usage: run time of the containers.
        watch: shows the progress of a map; the notebook sets one with a progress bar.
    """

    def __init__(self, name: str, serving: Serving, namespace: dict[str, Any], usage: Usage) -> None:
        self.name, self.serving, self.namespace, self.usage = name, serving, namespace, usage
        self.watch: Watch = lambda results, _total, _title: results
        self._app: ServiceApp | None = None
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether the service accepts calls."""
        return self._app is not None and not self._app.closed and self._app.backend.lost is None

    def function(self, name: str) -> Any:
        """Modal's own Function for a method.

        Raises:
            ServiceError: the service is not running.
            BackendLost: the control plane was lost.
        """
        if self._app is None or self._app.closed:
            state = "was stopped; run its cell again" if self._stopped else "is not started; call its start() first"
            raise ServiceError(f"{self.name} {state}.")
        if self._app.backend.lost is not None:
            raise self._app.backend.lost
        return self._app.method(name)

    @property
    def client(self) -> Any:
        """The connected `modal.Client` of a running service; None: the service is not running."""
        return None if self._app is None else self._app.backend.client

    def cancel(self, call_id: str | None) -> None:
        """Cancel a call."""
        if self._app is not None and call_id is not None:
            self._app.cancel(call_id)

    @contextlib.contextmanager
    def own_errors(self, pressed: Callable[[], str]) -> Iterator[None]:
        """Raise the errors of calls without frames of this package and of the SDK. `pressed()`: what ■ has done.

        Raises:
            KeyboardInterrupt: ■ was pressed.
            CancelledError: the task was cancelled.
            Exception: see `own`.
        """
        try:
            yield
        except KeyboardInterrupt:
            raise stopped(pressed()) from None
        except asyncio.CancelledError as error:
            raise shown_alone(error) from None
        except Exception as error:  # noqa: BLE001 - the function's, or Modal's
            raise self.own(error) from None

    def own(self, error: BaseException) -> BaseException:
        """The error to raise for a failed call: the function's error, or one that describes the container's end."""
        from modal_gpu_magic.sdk.faults import translate, why_lost

        if isinstance(error, Fault):
            return own_error(error.failure, self.namespace)
        if hasattr(error, "_render_traceback_"):  # of the notebook's own code, such as a map's iterable
            return error
        if self._stopped:
            return ServiceError(f"{self.name} was stopped while it was called.")
        ours = translate(error)
        if isinstance(ours, CellTimeout):
            limit = write_duration(self.serving.timeout)
            return CellTimeout(f"a call of {self.name} exceeded its timeout of {limit}; allow more with --timeout.")
        if isinstance(ours, ContainerLost):
            return ContainerLost(
                f"a container of {self.name} was lost in the call: {why_lost(error)}. "
                "The next call starts another, which runs the cell's top level again."
            )
        return ours
