"""A service: functions that stay loaded in containers of their own and are called from here, one by one or many.

`Service` is what the notebook gets from a `--service` cell, and works without IPython, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.prices import PRICE_DATE
from modal_gpu_magic.errors import CellTimeout, ContainerLost, ServiceError, TransferError
from modal_gpu_magic.line.units import write_duration
from modal_gpu_magic.plan.cellsource import tree_of
from modal_gpu_magic.plan.machine import Machine, quote_of
from modal_gpu_magic.plan.names import Names, analyse
from modal_gpu_magic.plan.quote import dollars, idle_words, rate
from modal_gpu_magic.plan.serving import Method, Serving, methods_of, methods_of_cell
from modal_gpu_magic.session.ending import own_error
from modal_gpu_magic.session.files import Files
from modal_gpu_magic.session.front import Front, SilentFront
from modal_gpu_magic.session.method import ServiceMethod
from modal_gpu_magic.session.presses import Inbox, Presses
from modal_gpu_magic.session.session import Cell
from modal_gpu_magic.session.starting import Starting
from modal_gpu_magic.session.usage import Usage
from modal_gpu_magic.session.values import Outgoing, Values
from modal_gpu_magic.wire.batching import WAIT_MS, Batch
from modal_gpu_magic.wire.buffers import InlineStore
from modal_gpu_magic.wire.calls import Fault, Program
from modal_gpu_magic.wire.events import FILES
from modal_gpu_magic.wire.remote import RemoteValue, facts
from modal_gpu_magic.wire.size import nbytes_of, size_text
from modal_gpu_magic.wire.transfer import pack

if TYPE_CHECKING:
    from typing_extensions import Self

    from modal_gpu_magic.plan.cellsource import Transform
    from modal_gpu_magic.sdk.client import Backend, Kind
    from modal_gpu_magic.sdk.service import ServiceApp

_OF_MODAL = ("update_autoscaler",)
"""Attributes of an object of Modal's classes."""
DEFINITION_BYTES = 16 << 20
"""Modal's limit for what comes with a Function's definition (modal/_functions.py, 1.6.4)."""

Source = str | Iterable[Callable[..., Any]]
Watch = Callable[[Iterator[Any], "int | None", str], Iterator[Any]]
"""`watch(results, total, title)`: iterates over the results of a map, and shows how far it is."""


class NoMethodError(ServiceError, AttributeError):
    """A service has no method of that name."""


class Service:
    """Functions of a cell, or functions, served by containers of their own.

    `Service([embed], "L40S").start()` or `with Service(...) as service:`; then `service.embed(x)`. Making one checks
    it; nothing is sent before `start`.

    Args:
        source: a cell (its top level runs once a container, its functions become methods), or a list of functions.
        machine: a `Machine`, or specs as text; None: CPU containers.
        name: its name.
        batch: how the only function is batched: a number of calls or a `Batch`; None: as `@batched` says.
        wait_ms: milliseconds such a batch waits to be full.
        min_containers, max_containers, concurrent: as `Serving` has them.
        timeout: seconds that a call, or the start of a container, may take.
        backend: `cloud` or `local`.
        namespace: the notebook's variables, which the source reads; of functions, by default their own globals.
        hidden: names of the namespace that are not the user's.
        cell: the cell as the notebook knows it: its number, names, files, packages.
        transform: how the source becomes Python; None: as IPython does.

    Raises:
        ServiceError: it cannot be served as written. SyntaxError: the source is no valid cell.
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
        self.name, self.backend = name, backend
        self.machine = Machine.of(*machine.split()) if isinstance(machine, str) else machine or Machine()
        given = Batch(batch, wait_ms) if isinstance(batch, int) else batch
        self._functions: dict[str, Any] = {}
        helpers: tuple[str, ...] = ()
        if isinstance(source, str):
            methods, helpers = methods_of_cell(tree_of(source, transform), given)
            self.namespace: dict[str, Any] = {"__name__": "__main__"} if namespace is None else namespace
            self._cell = cell or Cell(source, names=analyse(source, transform))
        else:
            functions = tuple(source)
            methods = methods_of(functions, given)
            self._functions = {function.__name__: function for function in functions}
            self.namespace = _globals(functions) if namespace is None else namespace
            self._cell = Cell("", names=Names(reads=frozenset(self._functions)))
        self.serving = Serving(methods, helpers, min_containers, max_containers, concurrent, int(timeout))
        self.watch: Watch = lambda results, _total, _title: results
        """Shows how far a map is; the notebook's has a progress bar."""
        self.usage = Usage(self.machine.scaledown, min_containers or 0)
        self._values = Values(f"service {name}", self.namespace, hidden or {})
        self._app: ServiceApp | None = None
        self._stopped = False
        self._methods = {method.name: ServiceMethod(self, method) for method in methods}
        hidden_here = [each for each in self._methods if each in {*dir(Service), *vars(self), *_OF_MODAL}]
        if hidden_here:
            raise ServiceError(f"a service has a {hidden_here[0]} of its own; give the function another name.")

    def start(self, front: Front | None = None, inbox: Inbox | None = None) -> Self:
        """Start the first container and run the top level there; its output and its error are shown as a cell's.

        Raises:
            TransferError: a value that is read cannot travel. KeyboardInterrupt: ■. Exception: the top level's own.
        """
        if inbox is None:
            with Presses() as presses:
                return self.start(front, presses.inbox)
        if self._app is not None or self._stopped:
            raise ServiceError(f"{self.name} was started before; make it anew.")
        front, outgoing, began = front or SilentFront(), self.outgoing(), time.monotonic()
        starting = Starting(
            self.backend, lambda backend: self._make(backend, outgoing), self.machine.title, front, inbox
        )
        try:
            self._app, answer = starting.run()
        except Fault as fault:
            raise own_error(fault.failure, self.namespace) from None
        for name, why in answer.failed.items() if answer else ():
            front.say(f"`{name}` could not be made there: {why}.")
        front.settled(self._started(time.monotonic() - began))
        return self

    def stop(self) -> None:
        """End its containers. It cannot be called any more."""
        app, self._app, self._stopped = self._app, None, True
        if app is not None:
            self._spent = self.usage.seconds
            app.close()

    @property
    def running(self) -> bool:
        """Whether it can be called."""
        return self._app is not None and not self._app.closed and self._app.backend.lost is None

    @property
    def methods(self) -> tuple[Method, ...]:
        """What can be called."""
        return self.serving.methods

    def function(self, name: str) -> Any:
        """Modal's own Function for a method.

        Raises:
            ServiceError: the service is not running. BackendLost: its control plane is gone.
        """
        if self._app is None or self._app.closed:
            state = "was stopped; run its cell again" if self._stopped else "is not started; call its start() first"
            raise ServiceError(f"{self.name} {state}.")
        if self._app.backend.lost is not None:
            raise self._app.backend.lost
        return self._app.method(name)

    def cancel(self, call_id: str | None) -> None:
        """End a call."""
        if self._app is not None and call_id is not None:
            self._app.cancel(call_id)

    def own(self, error: BaseException) -> BaseException:
        """The error to raise for what a call brought: the function's own, or what became of the container."""
        from modal_gpu_magic.sdk.faults import translate, why_lost

        if isinstance(error, Fault):
            return own_error(error.failure, self.namespace)
        if self._stopped:
            return ServiceError(f"{self.name} was stopped while it was called.")
        ours = translate(error)
        if isinstance(ours, CellTimeout):
            limit = write_duration(self.serving.timeout)
            return CellTimeout(f"a call of {self.name} ran into its timeout of {limit}; give it more with --timeout.")
        if isinstance(ours, ContainerLost):
            return ContainerLost(
                f"a container of {self.name} was lost in the call: {why_lost(error)}. "
                "The next call starts another, which runs the cell's top level again."
            )
        return ours

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __getattr__(self, name: str) -> ServiceMethod:
        methods = self.__dict__.get("_methods", {})
        if name in methods:
            return methods[name]  # type: ignore[no-any-return]
        if name.startswith("_"):  # somebody asks what protocols it has
            raise AttributeError(name)
        why = f"it has {', '.join(methods)}"
        if name in self.serving.helpers:
            why = f"Modal gives a class with a batched method no other, and {', '.join(methods)} is batched"
        raise NoMethodError(f"{self.name} has no method {name}: {why}.")

    def __dir__(self) -> list[str]:
        return sorted([*self._methods, "machine", "methods", "running", "stop"])

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"the service {self.name} is called from the notebook, so it stays there")

    def __repr__(self) -> str:
        parts = [self.name, self.machine.title, self.backend, *map(str, self.methods)]
        stats = self._app.stats() if self._app is not None and self.running else None
        if stats is not None:
            self.usage.seen(stats[0])
        if self.running:
            containers, queued = stats or ("–", "–")
            parts += [f"containers {containers}", f"queue {queued}"]
        else:
            parts.append("stopped" if self._stopped else "lost" if self._app else "not started")
        return f"<{' · '.join((*parts, self._cost()))}>"

    def _cost(self) -> str:
        """What it has cost until now, as an estimate: Modal tells no live figure."""
        price = quote_of(self.machine)
        where = "free here, at Modal about" if self.backend == "local" else "about"
        spent = dollars(price.cost(self._seconds))
        return f"{where} {spent} so far ({rate(price.per_hour)} a container, prices of {price.date})"

    @property
    def _seconds(self) -> float:
        if self._app is None:
            return self.__dict__.get("_spent", 0.0)  # type: ignore[no-any-return]
        return self.usage.seconds

    def _started(self, seconds: float) -> str:
        """The line at the cell's end: what is served, and what it costs."""
        where = [self.machine.title]
        if self.backend == "local":
            where += ["local", "CPU"] + ([f"{self.machine.title} simulated"] if self.machine.gpus else [])
        served = [str(method) for method in self.methods]
        if self.serving.helpers:
            served.append(
                f"{', '.join(self.serving.helpers)} only inside (Modal: no other method beside a batched one)"
            )
        money = [
            f"{rate(quote_of(self.machine).per_hour)} a container at Modal",
            idle_words(quote_of(self.machine), self.machine.scaledown),
        ]
        if self.serving.min_containers:
            money[1] = f"{self.serving.min_containers} always there, until {self.name}.stop()"
        return " · ".join((self.name, *where, *served, f"start {seconds:.1f} s", *money, f"prices of {PRICE_DATE}"))

    # What goes there.

    def outgoing(self) -> Outgoing:
        """The notebook's values that the source or the functions read.

        Raises:
            TransferError: one cannot travel, or they are too large for a definition.
        """
        names = self._cell.names or Names()
        for name in sorted(names.reads):
            value = self.namespace.get(name)
            if type(value) is RemoteValue:
                raise TransferError(
                    f"`{name}` lives in the container of session {facts(value).session!r}, and a service has "
                    f"containers of its own: run {name} = {name}.fetch() first, or make it in the cell."
                )
        marked = self.serving.batch is not None and not self._functions
        exclude = ("batched", *self._cell.wishes.exclude) if marked else self._cell.wishes.exclude
        outgoing = self._values.outgoing(names, replace(self._cell.wishes, exclude=exclude))
        if self.backend == "cloud":
            refuse_large(self.name, outgoing.values)
        return outgoing

    def _make(self, backend: Backend, outgoing: Outgoing) -> ServiceApp:
        from modal_gpu_magic.sdk.service import ServiceApp

        store = backend.shared_store() or InlineStore()
        files = Files().outgoing(self._cell.files)
        values = {**outgoing.values, **self._functions, **({FILES: files} if files else {})}
        program = Program(
            service=self.name,
            source=self._cell.source if not self._functions else "",
            functions=tuple(self._methods),
            count=self._cell.count,
            values=pack(values, self.namespace, store, outgoing.hasher, session=f"service {self.name}"),
            store=backend.store,
        )
        return ServiceApp(self.machine, backend, self._cell.packages, self.serving, program)


def refuse_large(name: str, values: Mapping[str, Any]) -> None:
    """Refuse values that are too large to travel with a service's definition to Modal.

    Raises:
        TransferError: naming the largest, and the way out.
    """
    sizes = {each: nbytes_of(value) for each, value in values.items()}
    total = sum(sizes.values())
    if total > DEFINITION_BYTES:
        largest = max(sizes, key=lambda each: sizes[each])
        raise TransferError(
            f"`{largest}` ({size_text(sizes[largest])}) does not travel: what {name} reads has {size_text(total)}, and "
            "Modal takes 16 MiB with a service. Put it on a Volume, mount that with --volume NAME:/path, and load it "
            "in the cell."
        )


def _globals(functions: tuple[Callable[..., Any], ...]) -> dict[str, Any]:
    """The globals of the first that has some."""
    return next((each.__globals__ for each in functions if isinstance(each, FunctionType)), {"__name__": "__main__"})
