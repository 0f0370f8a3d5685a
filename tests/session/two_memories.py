"""A notebook's two memories in one process: the kernel's half and the container's half of a session, without Modal.

Cells are run as a session runs them: what they read is sent, what they change comes back. A third memory, in which all
cells run, says what a notebook would have natively.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.values.sync import TransferOptions, Values
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.summary import summary
from modal_gpu_magic.wire.messages.events import Answer, Request
from modal_gpu_magic.wire.transfer import prepare
from modal_gpu_magic.wire.values.remote import RemoteValue, facts, own_of
from tests.session.shared_objects import check_run, contents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from modal_gpu_magic.container.state.cell_values import OutgoingValues
    from modal_gpu_magic.plan.cell.names import Names
    from modal_gpu_magic.session.values.sync import Outgoing
    from modal_gpu_magic.wire.transfer import Packed

_runs = itertools.count()


def new_namespace() -> dict[str, Any]:
    """An empty notebook's."""
    return {"__name__": "__main__", "__builtins__": __builtins__}


@dataclass(slots=True)
class TwoMemories:
    """One notebook. `fetch_bytes`: how much may come home from a cell."""

    fetch_bytes: int = 1 << 30
    here: dict[str, Any] = field(default_factory=new_namespace)
    there: dict[str, Any] = field(default_factory=new_namespace)
    model: dict[str, Any] = field(default_factory=new_namespace)
    kernel: Values = field(init=False)
    container: NamespaceSync = field(init=False)
    sent: list[tuple[str, ...]] = field(default_factory=list)
    """The names that each remote cell took along."""
    sent_bytes: list[int] = field(default_factory=list)
    """The bytes that each took along."""

    def __post_init__(self) -> None:
        self.kernel = Values("s", self.here, dict(self.here))
        self.container = NamespaceSync(self.there, dict(self.there))

    def native(self, source: str) -> None:
        """Run a cell in the kernel, and in the model."""
        assert _run(source, self.here) == _run(source, self.model), source

    def remote(self, source: str) -> None:
        """Run a cell in the container, and in the model."""
        expected = _run(source, self.model)
        names = analyse(source)
        outgoing = self.kernel.outgoing(names, TransferOptions())
        store = InlineStore()
        packed = prepare(outgoing.values, self.here, store, outgoing.hasher, session="s", table=self.kernel.table)
        self.sent.append(tuple(sorted(outgoing.values)))
        self.sent_bytes.append(packed.transfer.nbytes)
        request = self._request(source, names, outgoing, packed)
        failed = self.container.arrive(request, InlineStore(packed.transfer.inline))
        assert not failed, failed
        before = self.container.before(request, InlineStore())
        contents_before = contents(self.container.table)
        assert _run(source, self.there) == expected, source
        contents_after = contents(self.container.table)
        leaving = self.container.leave(request, before, (), 0.0, InlineStore())
        answer = self._answer(leaving)
        self.kernel.sent(outgoing, packed)
        self.kernel.incoming(answer, InlineStore(leaving.values.inline), self.fetch, 1, {})
        changed = {token: now for token, now in contents_after.items() if contents_before.get(token, now) != now}
        check_run(changed, self.kernel.table, self.container.table)
        self._check_descriptions()

    def shows_alike(self, cells: Sequence[str], shown: str, choose: Random, *, first: int) -> None:
        """Run cells on either side, and check after each that both sides show what the model shows.

        Args:
            cells: the cells.
            shown: an expression of what is shown.
            choose: chooses the sides.
            first: the sides of the first two cells: bit 0 and bit 1 are set if they run in the container.
        """
        for place, source in enumerate(cells):
            remotely = bool((first >> place) & 1) if place < 2 else choose.random() < 0.5
            memories = (self.here, self.there) if remotely else (self.there, self.here)
            acts, looks = (self.remote, self.native) if remotely else (self.native, self.remote)
            acts(source)
            for run, memory in zip((looks, acts), memories, strict=True):
                run(f"seen = repr(({shown}))")
                assert memory["seen"] == self.model["seen"], source

    def _check_descriptions(self) -> None:
        """Check that each remote value of the notebook shows the present length or shape, or none."""
        for name, value in self.here.items():
            if type(value) is RemoteValue and self.kernel.stand_ins.is_current(name, value):
                assert facts(value).summary in ("", summary(self.there[name])), name

    def _request(self, source: str, names: Names, outgoing: Outgoing, packed: Packed) -> Request:
        """What the kernel sends for a cell."""
        return Request(
            run=str(next(_runs)),
            version="",
            source=source,
            execution_count=1,
            generation="g",
            values=packed.transfer,
            holds=outgoing.holds,
            released=outgoing.released,
            aliases=tuple(outgoing.aliases.items()),
            drops=outgoing.drops,
            forgot=outgoing.forgot,
            fetched=tuple(self.kernel.table.received),
            named=self.kernel.kernel_only_tokens(packed),
            reads=tuple(names.reads),
            binds=tuple(names.binds),
            deletes=tuple(names.deletes & self.here.keys()),
            mutates=names.mutates,
            fetch_bytes=self.fetch_bytes,
        )

    def _answer(self, leaving: OutgoingValues) -> Answer:
        """What the container sends back after a cell."""
        return Answer(
            generation="g",
            version="",
            values=leaving.values,
            stays=leaving.stays,
            redescribed=leaving.redescribed,
            stale=leaving.stale,
            shares=leaving.shares,
            forgot=leaving.forgot,
            gone=leaving.gone,
            looks=leaving.looks,
            names=self.container.names,
        )

    def fetch(self, value: RemoteValue) -> Any:
        """What `value.fetch()` does."""
        names, received = self.kernel.stand_ins.to_fetch(value), tuple(self.kernel.table.received)
        if not names:  # its own value is current
            return own_of(value)[0]
        transfer = self.container.take(names, InlineStore(), received, self.kernel.table.forgotten())
        return self.kernel.fetched(names[0], value, transfer, InlineStore(transfer.inline))

    def user_names(self) -> list[str]:
        """The names that cells have bound."""
        return sorted(name for name in self.model if not name.startswith("__"))

    def fetch_all(self) -> None:
        """Bring everything home, as a user would before looking at the values."""
        for name, value in list(self.here.items()):
            if type(value) is RemoteValue and type(self.here[name]) is RemoteValue:
                self.here[name] = value.fetch()


def _run(source: str, namespace: dict[str, Any]) -> str:
    """Run a cell; returns the name of the error that ended it."""
    try:
        exec(compile(source, "<cell>", "exec"), namespace)
    except Exception as error:  # noqa: BLE001 - cells may fail, alike in all memories
        return type(error).__name__
    return ""
