"""Compare the namespace before and after a cell: what the cell has bound, changed in place and deleted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.state.cell_values import Before
from modal_gpu_magic.wire.inspection.graph import groups_of
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, RESULT
from modal_gpu_magic.wire.values.imports import Import, bound_by_import
from modal_gpu_magic.wire.values.referenced_globals import reach
from modal_gpu_magic.wire.values.resizing import named_in, resizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.container.state.shared_objects import SharedObjects
    from modal_gpu_magic.container.state.user_names import UserNames
    from modal_gpu_magic.wire.buffers.hashing import Hasher
    from modal_gpu_magic.wire.inspection.marks import Marks
    from modal_gpu_magic.wire.messages.events import Request

CHECK_SECONDS = 0.2
"""Seconds to compare values for changes in place after a cell; for a long cell, CHECK_SHARE of its time."""
CHECK_SHARE = 0.05
"""Share of a cell's own time that the comparison may take."""
ALWAYS_CHECKED_BYTES = 64_000_000
"""Values up to this size are always compared."""
HASH_BYTES_PER_SECOND = 5e9
"""A low estimate (measured: xxh3 hashes 31 GB/s; first access to memory pages, 9.9 GB/s)."""
_UNTOUCHED: Final = object()
"""Marker bound to an unbound name until the cell binds or deletes the name."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a cell may return.

    Attributes:
        values: values that the cell has bound or changed, and its result.
        imported: names that the cell bound by an import statement.
        bound: names that the cell has bound.
        nameless: values that the cell has changed before they lost their name.
        unchecked: names of values that may have changed and are too large to compare.
    """

    values: dict[str, Any]
    imported: dict[str, Import]
    bound: tuple[str, ...]
    nameless: list[Any]
    unchecked: list[str]


class Comparison:
    """Compares the namespace before and after a cell.

    A run can change only objects that the names of the cell reached before the run. The notebook has sent the
    current content of these objects, so their content is the newest. Other objects may be newer in the notebook:
    they are neither compared nor returned.

    Args:
        names: the names of the namespace.
        marks: the content of the values that both sides have, with the table of the objects.
        shared_objects: finds the objects of the notebook in values that only the container has.
    """

    def __init__(self, names: UserNames, marks: Marks, shared_objects: SharedObjects) -> None:
        self._names, self._marks, self._shared_objects = names, marks, shared_objects
        self._namespace, self._table = names.namespace, marks.table

    def before(self, request: Request, hasher: Hasher) -> Before:
        """Record the namespace just before user code begins.

        A marker is bound to each unbound name that the cell may delete, until `gone` is called.
        """
        namespace, known = self._namespace, self._names.known
        now = namespace.copy()  # a thread of the user may bind and delete names meanwhile
        identities = {name: id(now[name]) for name in self._names.bound if name in now}
        reached = reach(request.reads, namespace) if request.reads else set()
        candidates = tuple(sorted(reached & known & namespace.keys()))
        own = tuple(name for name in sorted(reached - known) if self._names.is_own(name))
        self._mark(candidates, hasher)
        unbound = tuple(name for name in request.deletes if name not in namespace)
        namespace.update(dict.fromkeys(unbound, _UNTOUCHED))
        tokens = {name: self._table.token(namespace[name]) for name in candidates}
        held = self._held(request, tokens)
        own_tokens = self._shared_objects.tokens_in(map(namespace.get, own))
        return Before(identities, tokens, own, own_tokens, unbound, held)

    def _mark(self, candidates: Iterable[str], hasher: Hasher) -> None:
        """Mark the groups of values that the notebook has as well, but that were not yet compared as one group."""
        namespace = self._namespace
        for names in groups_of({name: namespace[name] for name in candidates}, namespace):
            if not self._marks.knows(names):
                for group in self._marks.look({name: namespace[name] for name in names}, hasher):
                    self._marks.set(group)

    def _held(self, request: Request, tokens: Mapping[str, int]) -> dict[str, Any]:
        """Return the values that the cell may change before it rebinds or deletes their name.

        Args:
            request: the cell's request.
            tokens: tokens of the values that the notebook shares and the cell may reach, by name.
        """
        moving = {name: self._namespace[name] for name in {*request.binds, *request.deletes}.intersection(tokens)}
        does_resize = resizes(request.source)
        resized = self._table.release_arrays(named_in(request.source, self._namespace)) if does_resize else ()
        return {
            name: value
            for name, value in moving.items()
            if nbytes_of(value) <= ALWAYS_CHECKED_BYTES
            and (name in request.mutates or not tokens[name])
            and id(value) not in resized
        }

    def bound(self, request: Request, before: Before) -> tuple[str, ...]:
        """Return names that are new or bound to another object than before the cell, or whose values are asked for.

        A value that stayed is asked for by `--out`, and by a cell that binds its name again (`big = big`).
        """
        asked = {*request.binds, *request.fetch_names} - self._names.known
        namespace, then = self._namespace.copy(), before.identities  # a thread of the user may change the namespace
        now = {name: namespace[name] for name in self._names.bound if name in namespace}
        moved = [
            name
            for name, value in now.items()
            if (then.get(name) != id(value) or name in asked) and value is not _UNTOUCHED
        ]
        results = [name for name in sorted(LAST_RESULTS.intersection(request.binds)) if name in self._namespace]
        return (*moved, *results)  # `for _ in …` binds a name that IPython uses

    def offer(
        self,
        request: Request,
        before: Before,
        bound: tuple[str, ...],
        result: tuple[Any, ...],
        seconds: float,
        hasher: Hasher,
    ) -> Offer:
        """Find the values that a cell has bound or changed.

        Args:
            request: the cell's request.
            before: the namespace before the cell.
            bound: names that the cell has bound.
            result: the value of the cell's last expression, if any.
            seconds: duration of the cell.
            hasher: the hasher of the transfer to the notebook.
        """
        values, left = self._values_before(before, bound)
        changed, unchecked = self._changed_in_place(request, values, seconds, hasher)
        nameless = [values[name] for name in sorted(left.intersection((*changed, *unchecked)))]
        imported = bound_by_import(bound, self._namespace, request.import_statements, request.stars)
        names = (*bound, *(name for name in changed if name not in left))
        candidates = {name: self._namespace[name] for name in names if name not in imported}
        if result:
            candidates[RESULT] = result[0]
        return Offer(candidates, imported, bound, nameless, [name for name in unchecked if name not in left])

    def _values_before(self, before: Before, bound: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
        """Return the candidates' live values from before the cell, and the names rebound or deleted by the cell."""
        namespace = self._namespace
        left = {name for name in before.candidates if name in bound or name not in namespace}
        values = {name: namespace[name] for name in before.candidates if name not in left}
        found = {name: before.held.get(name, self._table.find(before.candidates[name])) for name in left}
        return values | {name: value for name, value in found.items() if value is not None}, left

    def _changed_in_place(
        self, request: Request, values: Mapping[str, Any], seconds: float, hasher: Hasher
    ) -> tuple[list[str], list[str]]:
        """Return names of values with changed content, and names of values too large to compare in time."""
        deadline = time.monotonic() + max(CHECK_SECONDS, seconds * CHECK_SHARE)
        changed: list[str] = []
        unchecked: list[str] = []
        groups = groups_of(values, self._namespace)
        sizes = {group: sum(nbytes_of(values[name]) for name in group) for group in groups}
        for names in sorted(groups, key=lambda group: sizes[group]):
            if (
                sizes[names] > ALWAYS_CHECKED_BYTES
                and time.monotonic() + sizes[names] / HASH_BYTES_PER_SECOND > deadline
            ):
                unchecked += () if request.mutates.isdisjoint(names) else names
                continue
            if not self._marks.agrees(self._marks.group(names, values, hasher)):
                changed += names
        return changed, unchecked

    def gone(self, before: Before) -> tuple[str, ...]:
        """Return the names that a cell has deleted; names that it only might have deleted are unbound again."""
        gone = tuple(name for name in {*before.identities, *before.unbound} if name not in self._namespace)
        for name in before.unbound:
            if self._namespace.get(name) is _UNTOUCHED:
                del self._namespace[name]
        return gone
