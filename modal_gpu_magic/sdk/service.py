"""The App of one service: its class at Modal, its methods, and what Modal says of its containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.sdk.app import definition
from modal_gpu_magic.sdk.held import HeldApp
from modal_gpu_magic.wire.calls import WAKE, Program

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.service.serving import Serving
    from modal_gpu_magic.sdk.client import Backend


class ServiceApp(HeldApp):
    """The App of one service; `open()` it in a thread, then `wake()` its first container."""

    def __init__(
        self, machine: Machine, backend: Backend, packages: tuple[str, ...], serving: Serving, program: Program
    ) -> None:
        super().__init__(machine, backend, packages)
        self.serving, self.program = serving, program
        self._service: Any = None

    def define(self, app: Any) -> Any:
        """The class, with everything of the machine and of how it is served in its definition."""
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
            startup_timeout=serving.startup_timeout,
            min_containers=serving.min_containers,
            max_containers=serving.max_containers,
            **definition(self.machine, self.packages),
        )(made)

    def method(self, name: str) -> Any:
        """Modal's Function for a method."""
        if self._service is None:
            self._service = self._cls()
        return getattr(self._service, name)

    def wake(self) -> None:
        """Make Modal start a container, and wait until it has: a call that reaches no user code."""
        first = self.serving.methods[0]
        if first.streams:
            list(self.method(first.name).remote_gen(WAKE))
        else:
            self.method(first.name).remote(WAKE)

    def stats(self) -> tuple[int, int] | None:
        """Containers that are there, and calls that wait for one; None: Modal does not say. One round trip."""
        try:
            stats = self.method(self.serving.methods[0].name).get_current_stats()
        except Exception:  # noqa: BLE001 - a line of status is not worth an error
            return None
        return stats.num_total_runners, stats.backlog

    def cancel(self, call_id: str) -> None:
        """Stop a call, of which only the id is known."""
        import modal

        modal.FunctionCall.from_id(call_id, client=self.backend.client).cancel()
