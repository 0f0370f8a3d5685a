"""What the notebook shows of the values that only the container has."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.process.output_owner import without_output
from modal_gpu_magic.wire.inspection.graph import reached
from modal_gpu_magic.wire.inspection.summary import SHOWN_ITEMS, bundle, summary
from modal_gpu_magic.wire.messages.events import StayedValue
from modal_gpu_magic.wire.values.kinds import is_a, module_of, name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from modal_gpu_magic.container.state.cell_values import Before
    from modal_gpu_magic.container.state.user_names import UserNames

DESCRIBE_SECONDS = 0.05
"""Seconds to describe values again after a cell; for a long cell, DESCRIBE_SHARE of its time."""
DESCRIBE_SHARE = 0.05
"""Share of a cell's own time that new descriptions may take."""
MOST_SHOWN = 1_000
"""Objects that are looked at in a description, at most: a container shows 20 items, and of each of these 20."""

_PLAIN_PACKAGES = frozenset({"builtins", "collections", "numpy", "pandas", "polars", "torch"})
"""Packages whose objects are described again: showing one does nothing else."""


class Descriptions:
    """The descriptions that the notebook has, as their hashes: a value is described again when its description differs.

    A description calls the `__repr__` of a class, which may take any time, and may do more than show the value: only
    objects of plain packages are described more than once.
    """

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        """Seconds that the last description of a name took."""

    def resume(self, names: Iterable[str]) -> None:
        """Continue as the container that has ended and that has described the values of these names."""
        self._shown.update(dict.fromkeys(names, 0))

    @property
    def names(self) -> frozenset[str]:
        """The names under which the notebook has remote values."""
        return frozenset(self._shown)

    def stayed(self, name: str, value: Any, why: str, *, shown: str = "", same_as: str = "") -> StayedValue:
        """Describe a value that stays.

        Args:
            name: its name in the answer.
            value: the value.
            why: the reason why the value stays.
            shown: the name under which the notebook has the value, if another one.
            same_as: another name under which the notebook has it (`StayedValue.same_as`).
        """
        began = time.monotonic()
        with without_output():
            made = StayedValue(name, name_of(type(value)), summary(value), why, bundle(value), same_as=same_as)
        self._seconds[shown or name] = time.monotonic() - began
        self._shown[shown or name] = _digest(made)
        return made

    def outdated(self, names: UserNames, before: Before, described: Collection[str]) -> dict[str, Any]:
        """Return values of the container alone whose descriptions may show what a cell has changed.

        Args:
            names: the names of the namespace.
            before: the namespace before the cell.
            described: names that the cell has bound, or that the answer describes anyway.
        """
        namespace = names.namespace
        shown = set(self._shown).difference(described, names.known)
        values = {name: namespace[name] for name in shown if names.is_own(name)}
        read = {name: value for name, value in values.items() if name in before.own}
        others = {name: value for name, value in values.items() if name not in before.own}
        if not others:
            return read
        roots = (namespace.get(name) for name in (*before.candidates, *before.own, *described))
        changed = reached(roots, namespace)
        return read | {name: value for name, value in others.items() if _shows_any(value, changed)}

    def changed(self, values: Mapping[str, Any], seconds: float) -> tuple[StayedValue, ...]:
        """Return the new descriptions of values that the notebook has remote values of.

        A value loses its old description, which may be wrong, if a new one would take too long or may do more than
        show the value.

        Args:
            values: values that a cell may have changed.
            seconds: duration of the cell.
        """
        left = max(DESCRIBE_SECONDS, seconds * DESCRIBE_SHARE)
        found = []
        for name, value in values.items():
            before, cost = self._shown.get(name), self._seconds.get(name, 0.0)
            if cost < left and not any(_may_do_more(type(each)) for each in _shown(value)):
                made = self.stayed(name, value, "")
                left -= self._seconds[name]
            else:
                made = StayedValue(name, name_of(type(value)), "", "")
                self._shown[name] = _digest(made)
            if self._shown[name] != before:
                found.append(made)
        return tuple(found)

    def forget(self, names: Iterable[str]) -> None:
        """Forget names that were deleted, or whose values the notebook has."""
        for name in names:
            self._shown.pop(name, None)
            self._seconds.pop(name, None)

    def clear(self) -> None:
        """Forget all names: the notebook has no remote values."""
        self._shown.clear()
        self._seconds.clear()


def _may_do_more(kind: type) -> bool:
    """Whether showing an object may do more than show: a repr may count its calls, a figure may be drawn."""
    return module_of(kind).partition(".")[0] not in _PLAIN_PACKAGES


def _shows_any(value: Any, ids: Collection[int]) -> bool:
    """Whether the description of a value shows an object with one of these ids."""
    return any(id(each) in ids for each in _shown(value))


def _shown(value: Any) -> Iterator[Any]:
    """Yield what the description of a value shows: the value itself, and of a container the first items."""
    waiting = deque([value])
    for _ in range(MOST_SHOWN):
        if not waiting:
            return
        each = waiting.popleft()
        yield each
        if is_a(each, dict):
            waiting += islice(each.values(), SHOWN_ITEMS)
        elif is_a(each, (list, tuple, set, frozenset)):
            waiting += islice(each, SHOWN_ITEMS)


def _digest(made: StayedValue) -> int:
    return hash((made.type_name, made.summary, repr(made.bundle)))
