"""Two memories in which the notebook goes on while a cell runs in the container, as beside a background cell."""

from __future__ import annotations

import contextlib
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.run.settling import OpenRun, bind_again, bindings_of
from modal_gpu_magic.session.values.conflicts import Conflicts
from modal_gpu_magic.session.values.sync import TransferOptions
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import prepare
from tests.session.two_memories import TwoMemories

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.wire.inspection.marks import Group


@dataclass(slots=True)
class MemoriesBeside(TwoMemories):
    """A notebook that runs native cells beside a cell in the container.

    Attributes:
        lost: names of which the user was told that the notebook's changes are lost.
        lost_without_classes: as `lost`, without classes and their instances: the classes of both sides are in one process
            here, where cloudpickle takes them for one, so that each seems to have changed.
        overwritten: of each object that native cells had changed, and the answer has written into, the names that
            reach the object.
    """

    lost: tuple[str, ...] = ()
    overwritten: tuple[frozenset[str], ...] = ()
    lost_without_classes: tuple[str, ...] = ()

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
        objects = Objects(self._user_values())
        for native in natives:
            run_cell(native, self.here)
            self.kernel.table.prune()  # as the callback after each native cell does
        run_cell(source, self.there)
        leaving = self.container.leave(request, before, (), 0.0, InlineStore())
        answer, newer = self._answer(leaving), run.rebound(self.here)
        changed, reaching = objects.changed(), Objects(self._user_values())
        conflicts, plain = (
            Conflicts.between(answer, groups, run.then, self.kernel.marks)
            for groups in (outgoing.looked, [each for each in outgoing.looked if not self._has_class(each)])
        )
        self.kernel.sent(outgoing, packed)
        self.kernel.incoming(answer, InlineStore(leaving.values.inline), self.fetch, 1, {})
        kept = bind_again(newer, self.here)
        self.lost, self.lost_without_classes = conflicts.lost(), plain.lost()
        both = changed & reaching.changed()
        self.overwritten = tuple(reaching.names[each] for each in both)
        return kept

    def _has_class(self, group: Group) -> bool:
        classes = tuple(value for value in self.here.values() if isinstance(value, type))
        objects = group.print.objects if group.print is not None else ()
        values = (*objects, *(self.here.get(name) for name in group.names))
        return any(isinstance(value, (type, *classes)) for value in values)

    def _user_values(self) -> dict[str, Any]:
        return {name: self.here[name] for name in self.names}

    def agree(self) -> None:
        """Run a remote cell that reads all names: the container then has what the notebook has."""
        self.beside(f"({', '.join(self.names)},)", ())

    @property
    def names(self) -> list[str]:
        """The names of the notebook's variables."""
        return sorted(name for name in self.here if len(name) == 1)


class Objects:
    """The mutable objects that values reach, with their present content. `names`: by `id`, the names that reach one."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.names: dict[int, frozenset[str]] = {}
        self._known: dict[int, tuple[Any, Any]] = {}
        for name, value in values.items():
            self._add(name, value)

    def changed(self) -> set[int]:
        """Return the `id`s of the objects whose own content is another one now; not that of what they refer to."""
        return {key for key, (value, then) in self._known.items() if _content(value)[0] != then}

    def _add(self, name: str, value: Any) -> None:
        if name in self.names.get(id(value), ()) or isinstance(value, _ATOMS | type):
            return
        content, parts = _content(value)
        self._known[id(value)] = value, content
        self.names[id(value)] = self.names.get(id(value), frozenset()) | {name}
        for each in parts:
            self._add(name, each)


_ATOMS = int | float | str | bytes | bool | None | complex


def _content(value: Any) -> tuple[Any, list[Any]]:
    """Return a value's own content, in which another object is only its `id`, and the objects that it refers to."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return np.asarray(value.detach() if isinstance(value, torch.Tensor) else value).tobytes(), []
    if isinstance(value, types.FunctionType):
        parts = [each.cell_contents for each in value.__closure__ or ()] + list(value.__defaults__ or ())
    elif isinstance(value, types.MethodType):
        parts = [value.__self__]
    elif isinstance(value, dict):
        parts = [part for item in value.items() for part in item]
    else:
        parts = list(value) if isinstance(value, list | tuple) else []
        parts += [getattr(value, name) for name in ("left", "right") if hasattr(value, name)]
        parts += [part for item in getattr(value, "__dict__", {}).items() for part in item]
    return [each if isinstance(each, _ATOMS) else id(each) for each in parts], parts


def run_cell(source: str, namespace: dict[str, Any]) -> None:
    """Run a cell. One that fails has done what it did until then."""
    with contextlib.suppress(Exception):
        exec(compile(source, "<cell>", "exec"), namespace)
