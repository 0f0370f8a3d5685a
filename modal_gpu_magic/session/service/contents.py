"""The contents of a service: its cell or functions, and the notebook's values that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.gpus import SMI_NAMES
from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.plan.cell.facts import CellFacts, read
from modal_gpu_magic.plan.cell.names import Names
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.sent_files import Files
from modal_gpu_magic.session.run.cell import Cell
from modal_gpu_magic.session.values.process_state import ProcessState
from modal_gpu_magic.session.values.sync import Outgoing, Values
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.calls import Program
from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.messages.events import Asked
from modal_gpu_magic.wire.transfer import pack
from modal_gpu_magic.wire.values.remote import RemoteValue, facts
from modal_gpu_magic.wire.values.submodules import submodules_read

if TYPE_CHECKING:
    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.client import Backend
    from modal_gpu_magic.wire.process.process_state import States

Source = str | Iterable[Callable[..., Any]]
DEFINITION_BYTES = 16 << 20
"""Modal's size limit for the data of a Function's definition, bytes (modal/_functions.py, 1.6.4)."""


class Contents:
    """A cell or functions, with the namespace that they read.

    Attributes:
        functions: the functions by name; empty: the source is a cell.
        namespace: the notebook's variables.
    """

    def __init__(
        self,
        source: Source,
        service: str,
        namespace: dict[str, Any] | None,
        hidden: Mapping[str, Any],
        cell: Cell | None,
        transform: Transform | None,
    ) -> None:
        self._service = f"service {service}"
        self.functions: dict[str, Callable[..., Any]] = {}
        if not isinstance(source, str):
            self.functions = {getattr(each, "__name__", repr(each)): each for each in source}
            cell = Cell("", facts=CellFacts(Names(reads=frozenset(self.functions))))
            namespace = _globals(self.functions.values()) if namespace is None else namespace
        self.namespace: dict[str, Any] = {"__name__": "__main__"} if namespace is None else namespace
        self._cell = cell or Cell(str(source), facts=read(str(source), transform))
        self._values = Values(self._service, self.namespace, hidden)
        self._values.modules.needed = lambda *names: (LocalModules().find(*names).modules, False)

    @property
    def packages(self) -> tuple[str, ...]:
        """Requirements of the image in addition to the machine's."""
        return self._cell.packages

    def outgoing(self, kind: Kind, *, marked: bool) -> Outgoing:
        """The notebook's values that the cell or the functions read.

        Args:
            kind: the backend.
            marked: the cell has a `@batched` function, so that `batched` is this package's and not a variable.

        Raises:
            TransferError: a value cannot be sent, or the values are too large for a definition.
        """
        names = self._cell.names
        _refuse_remote({name: self.namespace.get(name) for name in sorted(names.reads)})
        transfer_options = self._cell.transfer_options
        if marked:
            transfer_options = replace(transfer_options, exclude=("batched", *transfer_options.exclude))
        outgoing = self._values.outgoing(names, transfer_options)
        if kind == "cloud":
            refuse_large(outgoing.values)
        return outgoing

    def states(self, machine: Machine, say: Callable[[str], None]) -> States:
        """The process's state in which the containers begin; `say`: shows what of the environment is not sent."""
        state = ProcessState()
        states = state.for_service(self._cell.transfer_options.include, machine)
        for line in state.news(machine):
            say(line)
        return states

    def program(
        self,
        service: str,
        methods: Iterable[str],
        machine: Machine,
        outgoing: Outgoing,
        backend: Backend,
        states: States,
    ) -> Program:
        """The program of a container of `machine`, with the values packed; `states`: see `states`."""
        shared = backend.new_store()
        store = shared or InlineStore()
        files = Files()
        values = {**outgoing.values, **self.functions}
        packed = pack(values, self.namespace, store, outgoing.hasher, session=self._service)
        imports = self._cell.names.imports
        return Program(
            service=service,
            source=self._cell.source,
            functions=tuple(methods),
            count=self._cell.count,
            values=packed,
            store=None if shared is None else str(shared.directory),
            modules=LocalModules(place=files.place, shares_packages=backend.kind == "local").outgoing(
                (*imports, *packed.modules), self._cell.transfer_options.exclude
            ),
            files=files.outgoing(self._cell.files),
            asked=Asked(tuple(map(str, machine.gpus)), backend.kind, dict(SMI_NAMES)),
            states=states,
            submodules=submodules_read(self._cell.source, values, self.namespace),
        )


def _refuse_remote(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if type(value) is RemoteValue:
            raise TransferError(
                f"`{name}` is in the container of session {facts(value).session!r}, and a service has its own "
                f"containers: run {name} = {name}.fetch() first, or compute it in the cell."
            )


def refuse_large(values: Mapping[str, Any]) -> None:
    """Refuse values that are too large for a service's definition on Modal.

    Raises:
        TransferError: the values are too large; the message names the largest and the remedy.
    """
    sizes = {each: nbytes_of(value) for each, value in values.items()}
    total = sum(sizes.values())
    if total > DEFINITION_BYTES:
        largest = max(sizes, key=lambda each: sizes[each])
        raise TransferError(
            f"Cannot send `{largest}` ({size_text(sizes[largest])}): Modal accepts 16 MiB with a service, and the "
            f"values of this service have {size_text(total)}. Put it on a Volume, mount the Volume with --volume "
            "NAME:/path, and load it in the cell."
        )


def _globals(functions: Iterable[Callable[..., Any]]) -> dict[str, Any] | None:
    """The globals of the first Python function; None: no function has any."""
    return next((each.__globals__ for each in functions if isinstance(each, FunctionType)), None)
