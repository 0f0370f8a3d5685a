"""Two memories in which the notebook goes on while a cell runs in the container, as beside a background cell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.run.settling import OpenRun, bind_again, bindings_of
from modal_gpu_magic.session.values.sync import TransferOptions
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import prepare
from tests.session.two_memories import TwoMemories

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class MemoriesBeside(TwoMemories):
    """A notebook that runs native cells beside a cell in the container."""

    def beside(self, source: str, natives: Iterable[str]) -> tuple[str, ...]:
        """Send a cell, run native cells, then take in what it changed; return the names that keep their values."""
        names = analyse(source)
        outgoing = self.kernel.outgoing(names, TransferOptions())
        store = InlineStore()
        packed = prepare(outgoing.values, self.here, store, outgoing.hasher, session="s", table=self.kernel.table)
        request = self._request(source, names, outgoing, packed)
        run = OpenRun(request.run, outgoing, packed, 1, bindings_of(self.here))
        failed = self.container.arrive(request, InlineStore(packed.transfer.inline))
        assert not failed, failed
        before = self.container.before(request, InlineStore())
        for native in natives:
            run_cell(native, self.here)
            self.kernel.table.prune()  # as the callback after each native cell does
        run_cell(source, self.there)
        leaving = self.container.leave(request, before, (), 0.0, InlineStore())
        newer = run.rebound(self.here)
        self.kernel.sent(outgoing, packed)
        self.kernel.incoming(self._answer(leaving), InlineStore(leaving.values.inline), self.fetch, 1, {})
        return bind_again(newer, self.here)

    def agree(self) -> None:
        """Run a remote cell that reads all names: the container then has what the notebook has."""
        self.beside(f"({', '.join(self.names)},)", ())

    @property
    def names(self) -> list[str]:
        """The names of the notebook's variables."""
        return sorted(name for name in self.here if len(name) == 1)


def run_cell(source: str, namespace: dict[str, Any]) -> None:
    """Run a cell. One that fails has done what it did until then."""
    with contextlib.suppress(Exception):
        exec(compile(source, "<cell>", "exec"), namespace)
