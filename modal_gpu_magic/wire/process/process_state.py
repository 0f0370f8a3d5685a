"""The state of a process beside its variables: read, compared and written item by item.

Each row of the table in `state_table` is a `State`: random generators, environment variables, options of libraries.
Both sides read all rows before and after a cell. What has changed on one side since the last cell is sent to the
other, so that neither side overwrites a newer item by an older one. Values in messages are plain data.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.process.import_hook import ImportWatch, is_loaded

if TYPE_CHECKING:
    from collections.abc import Mapping

Items = dict[str, Any]
"""Values by key: one variable, one option, one generator."""
States = dict[str, Items]
"""Items by the name of their state."""

_PLAIN = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class State:
    """One kind of state. `settings` makes one of two plain functions."""

    name: str
    read: Callable[[Collection[str]], Items]
    """Items that differ from those of a fresh process, and in any case the items with the given keys."""
    write: Callable[[str, Any], None]
    """Set one item; raises where that cannot be done."""
    module: str = ""
    """The module whose state it is: nothing is read or written before somebody imports the module."""
    borrowed: bool = False
    """A generator from which our own code, or that of Modal's SDK, draws, too: such numbers are put back."""
    contextual: bool = False
    """A context variable: what an import outside a cell sets is not set in the cell."""
    ours: bool = False
    """Our own code changes it between cells, too: such changes are no user's."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """A value that is not plain data, such as a formatting function: a pickle, made by cloudpickle."""

    pickle: bytes


def settings(
    name: str,
    read: Callable[[], Items],
    write: Callable[[str, Any], None],
    default: Callable[[], Mapping[str, Any]],
    module: str = "",
    *,
    contextual: bool = False,
) -> State:
    """A state whose items all have a default: `read` gives all items, `default` those of a fresh process."""

    def differing(asked: Collection[str]) -> Items:
        fresh = default()
        return {
            key: value
            for key, value in read().items()
            if key in asked or key not in fresh or (value is not fresh[key] and not is_same(value, fresh[key]))
        }

    return State(name, differing, write, module, contextual=contextual)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of an item are equal. Values that cannot be compared are different."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # noqa: BLE001 - a user's value may raise anything
        return False


def difference(before: States, after: States) -> States:
    """The items of `after` that `before` lacks or has otherwise."""
    changed = {
        name: {key: value for key, value in items.items() if not _has(before, name, key, value)}
        for name, items in after.items()
    }
    return {name: items for name, items in changed.items() if items}


def merged(states: States, newer: States) -> States:
    """Both; an item that both have is the newer one."""
    return {name: {**states.get(name, {}), **newer.get(name, {})} for name in {**states, **newer}}


def _has(states: States, name: str, key: str, value: Any) -> bool:
    items = states.get(name)
    return items is not None and key in items and is_same(items[key], value)


def encoded(states: States) -> States:
    """Items as a message has them: what is not plain data as a pickle. An item that does not pickle is left out."""
    import cloudpickle

    coded: States = {}
    for name, items in states.items():
        for key, value in items.items():
            if _is_plain(value):
                coded.setdefault(name, {})[key] = value
            else:
                try:
                    coded.setdefault(name, {})[key] = Pickled(cloudpickle.dumps(value))
                except Exception:  # noqa: BLE001, S112 - a user's object raises anything; its option stays as it is there
                    continue
    return coded


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    return type(value) in _PLAIN


@dataclass(slots=True)
class Process:
    """This process's state, by a table of states."""

    table: tuple[State, ...]
    waiting: States = field(default_factory=dict)
    """Items of states whose module is not imported yet: they are written when it is."""
    held: States = field(default_factory=dict)
    """Items that could not be written here, such as the generator of a GPU: they are passed on as they came."""
    _imports: ImportWatch = field(default_factory=ImportWatch)

    def read(self, asked: States) -> States:
        """Items that differ from a fresh process's, and those whose keys are in `asked`."""
        found = {state.name: self._items(state, asked.get(state.name, {}).keys()) for state in self.table}
        return {name: items for name, items in found.items() if items}

    def read_back(self, states: States) -> States:
        """These items as they are here after they were written: a function is another object than on the other side."""
        found = {}
        for state in self.table:
            if items := states.get(state.name):
                now = self._items(state, items.keys())
                found[state.name] = {key: now.get(key, value) for key, value in items.items()}
        return found

    def write(self, states: States) -> None:
        """Set items, each where that can be done; those of a module that is not imported wait for its import."""
        for state in self.table:
            items = states.get(state.name)
            if not items:
                continue
            if state.module and not is_loaded(state.module):
                self._wait(state, items)
            else:
                self._write(state, items)

    def _items(self, state: State, keys: Collection[str]) -> Items:
        waiting = self.waiting.get(state.name)
        if waiting is not None:
            return dict(waiting)
        if state.module and not is_loaded(state.module):
            return {}
        return {**self.held.get(state.name, {}), **state.read(keys)}

    def _wait(self, state: State, items: Items) -> None:
        self.waiting.setdefault(state.name, {}).update(items)
        self._imports.watch(state.module, partial(self._loaded, state.module))

    def _loaded(self, module: str) -> None:
        for state in self.table:
            if state.module == module:
                self._write(state, self.waiting.pop(state.name, {}))

    def _write(self, state: State, items: Items) -> None:
        for key, value in items.items():
            held = self.held.setdefault(state.name, {})
            try:
                state.write(key, pickle.loads(value.pickle) if type(value) is Pickled else value)
                held.pop(key, None)
            except Exception:  # noqa: BLE001 - an option that this version of the library lacks, a GPU that is not here
                held[key] = value
