"""A notebook's two memories, of which the container's is saved, ends, and is restored in another container."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.restoring import Plan
from modal_gpu_magic.container.state.saved_session import Options, SavedSession
from modal_gpu_magic.container.state.saving import Moment
from modal_gpu_magic.plan.cell.facts import CellFacts
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.dispatcher import changed_by
from modal_gpu_magic.session.values.sync import TransferOptions
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import RunTrace
from modal_gpu_magic.wire.transfer import prepare
from modal_gpu_magic.wire.values.remote import RemoteValue, is_lost, own_of
from tests.session.two_memories import TwoMemories, _run, new_namespace

NEVER = 1e9
"""Seconds without a cell after which the state is saved: these tests save by themselves."""


@dataclass(slots=True)
class ReplacedMemories(TwoMemories):
    """One notebook whose container may be replaced."""

    directory: Path = field(default_factory=Path)
    limit: int = 1 << 40
    history: list[RunTrace] = field(default_factory=list)
    saved: SavedSession = field(init=False)
    containers: int = 0
    rewinds: int = 0
    losses: int = 0

    def __post_init__(self) -> None:
        super(ReplacedMemories, self).__post_init__()
        self.saved = self._new_saved()

    def _new_saved(self) -> SavedSession:
        self.containers += 1
        made = SavedSession(
            self.directory, f"c{self.containers}", self.container, lambda: Moment("g", python="3"), seconds=NEVER
        )
        made.options(Options(self.limit))
        return made

    def save(self) -> None:
        """Save the state, as an idle container does."""
        if self.saved.has_run:
            assert self.saved.save_now() is not None

    def replace(self) -> None:
        """End the container; another one goes on with what was saved."""
        self.there = new_namespace()
        self.container = NamespaceSync(self.there, dict(self.there))
        self.saved = self._new_saved()
        plan = self.saved.plan("g", tuple(self.history), self.kernel.table.received, "3")
        if isinstance(plan, Plan) and plan.continues:
            self.saved.take(plan)
            self.kernel.marks.forget(plan.state.manifest.sync.forgotten)
            lost = tuple(self.kernel.lose(plan.state.unsaved))
        elif isinstance(plan, Plan):
            self.saved.take(plan)
            self.saved.begin()
            self.rewinds += 1
            lost = tuple(self.kernel.rewound(frozenset(self.container.names), {}))
            self.history.clear()
        else:
            lost = self.kernel.forget()
            self.history.clear()
        self.losses += len(lost)
        self.give_up()

    def give_up(self) -> None:
        """Bind all lost names anew, as a user would; nothing else of the notebook may be lost."""
        for name, value in sorted(self.here.items()):
            if is_lost(value) and not name.startswith("_"):
                self.native(f"{name} = None")

    def remote(self, source: str) -> None:
        """Run a cell in the container, and in the model."""
        expected = _run(source, self.model)
        names = analyse(source)
        outgoing = self.kernel.outgoing(names, TransferOptions())
        store = InlineStore()
        packed = prepare(outgoing.values, self.here, store, outgoing.hasher, session="s", table=self.kernel.table)
        request = self._request(source, names, outgoing, packed)
        self.saved.restore_for(request)
        failed = self.container.arrive(request, InlineStore(packed.transfer.inline))
        assert not failed, failed
        before = self.container.before(request, InlineStore())
        self.saved.ran(request.run)
        assert _run(source, self.there) == expected, source
        leaving = self.container.leave(request, before, (), 0.0, InlineStore())
        answer = self._answer(leaving)
        self.history.append(RunTrace(request.run, changed_by(CellFacts(names), outgoing)))
        self.kernel.sent(outgoing, packed)
        self.kernel.incoming(answer, InlineStore(leaving.values.inline), self.fetch, 1, {})

    def fetch(self, value: RemoteValue) -> Any:
        """What `value.fetch()` does."""
        names, received = self.kernel.stand_ins.to_fetch(value), tuple(self.kernel.table.received)
        if not names:  # its own value is current
            return own_of(value)[0]
        self.saved.restore(names)
        self.saved.fetched()
        transfer = self.container.take(names, InlineStore(), received, self.kernel.table.forgotten())
        return self.kernel.fetched(names[0], value, transfer, InlineStore(transfer.inline))

    def fetch_all(self) -> None:
        """Bring everything home, as a user would before looking at the values."""
        for name, value in list(self.here.items()):
            if type(value) is RemoteValue and type(self.here[name]) is RemoteValue:
                self.here[name] = value.fetch()
