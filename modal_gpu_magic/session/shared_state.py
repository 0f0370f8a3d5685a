"""What the kernel and the container of a session both have, and what the kernel knows of the session's machine."""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.plan.cell.facts import CellFacts, read
from modal_gpu_magic.plan.cell.texts import texts_of
from modal_gpu_magic.plan.machine.definition import Machine, specs_text
from modal_gpu_magic.plan.machine.quote import rate
from modal_gpu_magic.sdk.names import PREFIX
from modal_gpu_magic.sdk.patience import PATIENCE_SECONDS
from modal_gpu_magic.session.costs.ledger import Record
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.sent_files import Files
from modal_gpu_magic.session.run.front import About
from modal_gpu_magic.session.run.metrics import Metrics
from modal_gpu_magic.session.run.sizing import hourly_of
from modal_gpu_magic.session.run.status import Status
from modal_gpu_magic.session.values.process_state import ProcessState
from modal_gpu_magic.session.values.sync import ENDED, Values
from modal_gpu_magic.session.values.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.registry import Entry
    from modal_gpu_magic.session.app_opening import Opening
    from modal_gpu_magic.session.run.settling import OpenRun
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.messages.events import RunTrace


class SharedState:
    """The state that the kernel and the container keep between cells. `Session` says what the arguments mean."""

    def __init__(
        self,
        machine: Machine | str | None = None,
        name: str = "default",
        backend: Kind = "local",
        namespace: dict[str, Any] | None = None,
        hidden: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.backend = name, backend
        self.machine = Machine.of(*machine.split()) if isinstance(machine, str) else machine or Machine()
        self.namespace: dict[str, Any] = {"__name__": "__main__"} if namespace is None else namespace
        self.values = Values(name, self.namespace, hidden or {})
        self.files = Files()
        self.modules = LocalModules(place=self.files.place, shares_packages=backend == "local")
        self.values.modules.needed = self._needed_modules
        self.versions = Versions()
        self.process = ProcessState()
        self.metrics = Metrics()
        self.status = Status(self.metrics, self._hourly, self._record)
        self.generation: str | None = None
        self.patience = PATIENCE_SECONDS
        """Seconds without a connection after which a run is given up."""
        self.cache = True
        """Whether the next machine may mount the cache Volume."""
        self._opening: Opening | None = None
        self._last_run = self._next_run = ""
        self.open_run: OpenRun | None = None
        """The run that was sent and whose end the container has not reported."""
        self.store: SharedStore | None = None
        """Store of large values if the container shares the kernel's machine; None: messages carry the values."""
        self.prefix = PREFIX
        """Beginning of the names of a detached session at Modal."""
        self.owner_name = ""
        """This kernel, as people know it; empty: by its machine."""
        self.notebook = ""
        """Path of the notebook; empty: not known."""
        self._claim = ""
        """Id of this kernel's claim on a detached session."""
        self._found: Entry | None = None
        """The detached session that this kernel attaches to; None: the session is made here."""
        self._is_attaching = False
        """Whether this kernel attaches to a session and has not opened its App yet."""
        self.restores_any = False
        """The container of a session that this kernel attached to has ended: the next one restores what is saved."""
        self._taken = ""
        """The sentence about the kernel that has the session now, or about values that are not here; empty: neither."""
        self._record_id = ""
        """Id of the present run's record in the ledger, if the run may outlive this kernel."""
        self._most_seconds: float | None = None
        """How long the present run may take; None: Modal's limit."""
        self.status.lives_to = self._lives_to
        self.history: list[RunTrace] = []
        """The runs that the container's saved state may be of: the last that is known to be saved, and the last."""
        self._ended_at = 0.0
        """When the last cell ended, seconds of a monotonic clock."""
        self._fetches = 0
        """Number of fetches under way: other threads may fetch values."""

    def _needed_modules(self, names: Iterable[str], exclude: Iterable[str]) -> tuple[frozenset[str], bool]:
        """Return the user's modules that a cell needs, and whether the container runs some of them again."""
        found = self.modules.find(names, exclude)
        return found.modules, self.modules.runs_again(found)

    def container_ended(self) -> None:
        """Note the end of the container: the next one goes on with its saved state, if there is one."""
        if not self.machine.saves or self.generation is None:
            self.forget()
            return
        self.open_run = None
        self._resend()
        self.free_buffers()

    def _resend(self) -> None:
        """Send files, modules and the process's state again: another container has the values."""
        self.files.resend()
        self.modules.resend()
        self.versions.forget()
        self.process.forget()
        self.values.modules.resend()

    def forget(self, why: str = ENDED) -> tuple[str, ...]:
        """Discard the state of the container, so that values are sent again; return the names of lost values.

        Args:
            why: why the values are lost, as a clause.
        """
        self.generation = self.open_run = None
        self.history.clear()
        self.files.forget()
        self.modules.forget()
        self.versions.forget()
        self.process.forget()
        self.free_buffers()
        return self.values.forget(why)

    def free_buffers(self) -> None:
        """Free the shared memory of the values that have been received; those in an open run have not been."""
        if self.store is not None and self.open_run is None and not self._fetches:
            self.store.clear()

    @property
    def about(self) -> About:
        """Facts of the session's next run: GPUs, backend, price, nodes."""
        gpus, nodes = self.machine.gpus, self.machine.nodes
        known = self._hourly()
        billed = self.machine.first_per_hour if known is None else known
        measured = self.metrics.simulated
        simulated = bool(gpus) and (self.backend == "local" if measured is None else measured)
        session = self.name if self.machine.detach else ""
        return About(specs_text(gpus) or "CPU", self.backend, simulated, billed, nodes, session=session)

    @property
    def price_text(self) -> str:
        """The price of the GPUs that arrived; before, that of the first choice, and of the dearest: `$3.95/h`."""
        read = self.backend == "cloud" and self.metrics.latest
        known = self._hourly() if read else None
        return self.machine.price_text if known is None else rate(known)

    def _hourly(self) -> float | None:
        """The price of the GPUs that arrived, or will for certain, all nodes together; None: not known."""
        own = tuple(sample for sample in self.metrics.latest if sample.node == 0)
        return hourly_of(self.machine, self.backend, own)

    def _record(self) -> Record:
        """The facts of the session for the ledger."""
        gpus, prices, hourly = self.machine.gpus, rates.current(), self._hourly()
        asked = specs_text(gpus) or "CPU"
        return Record(
            id=self._record_id,
            kind="run",
            began=0.0,
            ended=0.0,
            until=0.0,
            backend=self.backend,
            session=self.name,
            machine=f"{self.machine.nodes} x {asked}" if self.machine.nodes > 1 else asked,
            gpu=gpus[0].name if gpus else "CPU",
            nodes=self.machine.nodes,
            notebook=_notebook_name(self.notebook),
            hourly=hourly,
            price_date=prices.date,
            price_source=prices.source,
            detached=self.machine.detach,
        )

    def _lives_to(self) -> float | None:
        """When the container has ended at the latest if nobody comes back; None: it ends with this kernel."""
        if not self.machine.detach:
            return None
        return time.time() + (self._most_seconds or FUNCTION_TIMEOUT) + self.machine.scaledown

    def _book_as(self, run: str, most_seconds: float | None, covered_to: float | None = None) -> None:
        """Name the record of the next run, so that a kernel which attaches to the run replaces the record."""
        self._record_id, self._most_seconds = run if self.machine.detach else "", most_seconds
        self.status.covered_to = covered_to

    def _read(self, source: str) -> CellFacts:
        return read(source, text_of=texts_of(self.namespace))


def _notebook_name(path: str) -> str:
    """Return the file name of a notebook's path, of any system; empty: no path."""
    return PurePath(path.replace("\\", "/")).name
