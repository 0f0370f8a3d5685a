"""The App of one service: defines its class, returns its methods, and reads the state of its containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.sdk.app import definition
from modal_gpu_magic.sdk.held import HeldApp
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.calls import WAKE, Program

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.service.serving import Serving
    from modal_gpu_magic.sdk.client import Backend


class ServiceApp(HeldApp):
    """The App of one service. Call `open()` in a thread, then `wake()` to start the first container."""

    defines_with_queue = True

    def __init__(
        self, machine: Machine, backend: Backend, packages: tuple[str, ...], serving: Serving, program: Program
    ) -> None:
        super().__init__(machine, backend, packages)
        self.serving, self.program = serving, program
        self._service: Any = None
        if program.store is not None:
            self._hooks.callback(SharedStore(program.store).remove)

    def define(self, app: Any) -> Any:
        """Define the service's class, with the options of the machine and of the service."""
        import modal

        from modal_gpu_magic.sdk.stubs import service_class

        serving = self.serving
        kinds = {method.name: method.kind for method in serving.methods}
        batches = {each.name: (each.batch.size, each.batch.wait_ms) for each in serving.methods if each.batch}
        made: Any = service_class(self.program, dict(kinds), batches, self.queue)
        if serving.concurrent:
            made = modal.concurrent(max_inputs=serving.concurrent)(made)
        return app.cls(
            serialized=True,
            timeout=serving.timeout,
            startup_timeout=self.machine.start_timeout or serving.startup_timeout,
            min_containers=serving.min_containers,
            max_containers=serving.max_containers,
            **definition(self.machine, self.packages),
        )(made)

    def method(self, name: str) -> Any:
        """Return Modal's Function for a method."""
        if self._service is None:
            self._service = self._cls()
        return getattr(self._service, name)

    def wake(self) -> None:
        """Start a container and wait for it, by a call that reaches no user code."""
        first = self.serving.methods[0]
        if first.streams:
            list(self.method(first.name).remote_gen(WAKE))
        else:
            self.method(first.name).remote(WAKE)

    def stats(self) -> tuple[int, int] | None:
        """Return the numbers of running containers and waiting calls; None: Modal gives no answer. One round trip."""
        try:
            stats = self.method(self.serving.methods[0].name).get_current_stats()
        except Exception:  # noqa: BLE001 - a status line must not fail
            return None
        return stats.num_total_runners, stats.backlog

    def cancel(self, call_id: str) -> None:
        """Stop a call by its id."""
        import modal

        modal.FunctionCall.from_id(call_id, client=self.backend.client).cancel()
