"""A service: functions that stay loaded in their own containers and are called from the notebook, singly or in maps.

A `--service` cell returns a `Service`, which also works without IPython.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.errors import ServiceError
from modal_gpu_magic.plan.cell.cellsource import tree_of
from modal_gpu_magic.plan.machine.definition import Machine, quote_of, specs_text
from modal_gpu_magic.plan.service.serving import Method, Serving, methods_of, methods_of_cell
from modal_gpu_magic.plan.service.text import failed_text, started_text, state_text
from modal_gpu_magic.session.costs.ledger import Record
from modal_gpu_magic.session.run.conclude import own_error
from modal_gpu_magic.session.run.cost_meter import EXIT_SECONDS
from modal_gpu_magic.session.run.front import BEFORE_CELL, Front, SilentFront
from modal_gpu_magic.session.run.interrupts import Inbox, Presses
from modal_gpu_magic.session.service.books import ServiceBooks
from modal_gpu_magic.session.service.container_counts import ContainerCounts
from modal_gpu_magic.session.service.contents import Contents, Source
from modal_gpu_magic.session.service.method import ServiceMethod
from modal_gpu_magic.session.service.running import RunningService
from modal_gpu_magic.session.service.startup import Starting
from modal_gpu_magic.session.service.usage import Usage
from modal_gpu_magic.wire.calls import Fault
from modal_gpu_magic.wire.messages.batching import WAIT_MS, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.sdk.service import ServiceApp
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.values.sync import Outgoing
    from modal_gpu_magic.wire.process.process_state import States

_OF_MODAL = ("update_autoscaler",)
"""Attribute names that Modal reserves on objects of its classes."""


class NoMethodError(ServiceError, AttributeError):
    """A service has no method of that name."""


class Service(RunningService):
    """Functions that run in their own containers.

    `Service([embed], "L40S").start()` or `with Service(...) as service:`; then `service.embed(x)`. The constructor
    checks the source; nothing is sent before `start`.

    Args:
        source: a cell (its top level runs once per container, its functions become methods), or a list of functions.
        machine: a `Machine`, or specs as text; None: CPU containers.
        name: the service's name.
        batch: batching of the only function: a number of calls or a `Batch`; None: as `@batched` says.
        wait_ms: maximum time that a batch given as a number waits for more calls, milliseconds.
        min_containers: see `Serving`.
        max_containers: see `Serving`.
        concurrent: see `Serving`.
        timeout: limit of one call, seconds; the start of a container may take at least one hour.
        backend: `cloud` or `local`.
        namespace: the notebook's variables that the source reads; None: the functions' globals.
        hidden: names of the namespace that are not the user's.
        cell: the cell's facts from the notebook: number, names, files, packages.
        transform: converts the source to Python; None: IPython's conversion.

    Raises:
        ServiceError: the source cannot be served.
        SyntaxError: the source is not a valid cell.
    """

    def __init__(
        self,
        source: Source,
        machine: Machine | str | None = None,
        name: str = "service",
        *,
        batch: int | Batch | None = None,
        wait_ms: int = WAIT_MS,
        min_containers: int | None = None,
        max_containers: int | None = None,
        concurrent: int | None = None,
        timeout: float = 3600,
        backend: Kind = "local",
        namespace: dict[str, Any] | None = None,
        hidden: Mapping[str, Any] | None = None,
        cell: Cell | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.backend = backend
        self.machine = Machine.of(*machine.split()) if isinstance(machine, str) else machine or Machine()
        if self.machine.nodes > 1:
            raise ServiceError(f"a service runs on single nodes, and this machine has {self.machine.nodes} nodes.")
        self._contents = Contents(source, name, namespace, hidden or {}, cell, transform)
        given = Batch(batch, wait_ms) if isinstance(batch, int) else batch
        methods, helpers = (
            methods_of_cell(tree_of(source, transform), given)
            if isinstance(source, str)
            else (methods_of(self._contents.functions.values(), given), ())
        )
        serving = Serving(methods, helpers, min_containers, max_containers, concurrent, int(timeout))
        super().__init__(name, serving, self._contents.namespace, Usage(self.machine.scaledown))
        self.notebook = ""
        """File name of the notebook, for the ledger; empty: not known."""
        self.write: Callable[[Record], None] | None = None
        """Writes the ledger's record; None: the ledger is off."""
        self._books: ServiceBooks | None = None
        self._counts: ContainerCounts | None = None
        self._methods = {method.name: ServiceMethod(self, method) for method in methods}
        for each in self._methods:
            if each in {*dir(Service), *vars(self), *_OF_MODAL}:
                raise ServiceError(f"the name {each} is reserved in a service; rename the function.")

    def start(self, front: Front | None = None, inbox: Inbox | None = None) -> Self:
        """Start the first container and run the top level in it; show its output and error as a cell's.

        Raises:
            TransferError: a value that the source reads cannot be sent.
            KeyboardInterrupt: ■ was pressed.
            Exception: the error of the top level.
        """
        if inbox is None:
            with Presses() as presses:
                return self.start(front, presses.inbox)
        if self._app is not None or self._stopped:
            raise ServiceError(f"{self.name} was already started; create it again.")
        front, outgoing, began = front or SilentFront(), self.outgoing(), time.monotonic()
        states = self._contents.states(self.machine, front.say)
        starting = Starting(
            self.backend, lambda backend: self._make(backend, outgoing, states), self.machine.title, front, inbox
        )
        try:
            self._app, answer = starting.run()
        except BaseException as error:
            words = self._close_failed(starting.alive_since)
            front.broke_off("stopped" if isinstance(error, KeyboardInterrupt) else "failed", words)
            if isinstance(error, Fault):
                raise own_error(error.failure, self.namespace) from None
            raise
        for name, why in answer.failed.items() if answer else ():
            front.say(f"`{name}` could not be loaded in the container: {why}.")
        took = time.monotonic() - began
        place = "" if self.backend == "cloud" else "simulated" if answer and answer.simulated else "local"
        self._open_books(starting.alive_since)
        front.settled(started_text(self.name, self.machine, self.serving, place, took))
        return self

    def _close_failed(self, alive_since: float | None) -> str:
        """Write what the container of a failed start has cost, and return it in words."""
        if alive_since is None:
            return BEFORE_CELL
        self._open_books(alive_since)
        self._close_books()
        return failed_text(self.machine, self.backend, self.usage.seconds)

    def _open_books(self, alive_since: float | None) -> None:
        """Begin to count the containers, and the service's record in the ledger."""
        least = self.serving.min_containers or 0
        self.usage = Usage(self.machine.scaledown, least, alive_since=alive_since, exits=EXIT_SECONDS)
        self._counts = ContainerCounts(self.usage, self._running_containers, self._note_cost)
        self.usage.on_change = self._note_call
        if self.write is None:
            return
        gpus, price, prices = self.machine.gpus, quote_of(self.machine), rates.current()
        template = Record(
            id="",
            kind="service",
            began=0.0,
            ended=0.0,
            until=0.0,
            backend=self.backend,
            session=self.name,
            machine=specs_text(gpus) or "CPU",
            gpu=gpus[0].name if gpus else "CPU",
            notebook=self.notebook,
            hourly=price.per_hour,
            price_date=prices.date,
            price_source=prices.source,
        )
        self._books = ServiceBooks(template, self.usage, self.write)

    def _note_call(self) -> None:
        """Note that a call has begun or ended."""
        if self._counts is not None:
            self._counts.note()
        self._note_cost()

    def _note_cost(self) -> None:
        if self._books is not None:
            self._books.note()

    def _running_containers(self) -> int | None:
        """Return the number of running containers; None: not known."""
        app = self._app
        stats = None if app is None else app.stats()
        return None if stats is None else stats[0]

    def stop(self) -> None:
        """End the service's containers. Later calls fail."""
        app, self._app, self._stopped = self._app, None, True
        if app is not None:
            self.usage.end()  # a close may take seconds
            app.close()
            self._close_books()

    def _close_books(self) -> None:
        self.usage.end()
        for each in (self._counts, self._books):
            if each is not None:
                each.close()

    @property
    def methods(self) -> tuple[Method, ...]:
        """The callable methods."""
        return self.serving.methods

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __getattr__(self, name: str) -> ServiceMethod:
        methods = self.__dict__.get("_methods", {})
        if name in methods:
            return methods[name]  # type: ignore[no-any-return]
        if name.startswith("_"):  # a lookup of a protocol method, such as by pickle or IPython
            raise AttributeError(name)
        why = f"it has {', '.join(methods)}"
        if name in self.serving.helpers:
            why = f"Modal allows no method beside a batched one, and {', '.join(methods)} is batched"
        raise NoMethodError(f"{self.name} has no method {name}: {why}.")

    def __dir__(self) -> list[str]:
        return sorted([*self._methods, "machine", "methods", "running", "stop"])

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"the service {self.name} is called from the notebook; it cannot be sent")

    def __repr__(self) -> str:
        state: str | tuple[int, int] | None = "stopped" if self._stopped else "lost" if self._app else "not started"
        if self._app is not None and self.running:
            state = self._app.stats()
            if state is not None:
                self.usage.seen(state[0])
        text = state_text(self.name, self.machine, self.serving, self.backend, state, self.usage.seconds)
        return f"<{text}>"

    def outgoing(self) -> Outgoing:
        """The notebook's values to send to the containers.

        Raises:
            TransferError: a value cannot be sent, or the values are too large.
        """
        return self._contents.outgoing(self.backend, marked=self.serving.batch is not None)

    def _make(self, backend: Backend, outgoing: Outgoing, states: States) -> ServiceApp:
        from modal_gpu_magic.sdk.service import ServiceApp

        program = self._contents.program(self.name, self._methods, self.machine, outgoing, backend, states)
        return ServiceApp(self.machine, backend, self._contents.packages, self.serving, program)
