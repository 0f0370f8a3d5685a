"""The state of a process apart from its variables: read, compared and written item by item.

Each row of the table in `state_table` is a `State`: random generators, environment variables, options of libraries.
Both sides read all states before and after a cell. Each side sends only the items that changed on its side since the
last cell, so that no older item overwrites a newer one. Values in messages are plain data.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.process.import_hook import ImportWatch, is_loaded
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Mapping

Items = dict[str, Any]
"""Values by key: one variable, one option, one generator."""
States = dict[str, Items]
"""Items by name of the state."""

_PLAIN = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class State:
    """One kind of process state. `settings` creates a state from plain functions."""

    name: str
    read: Callable[[Collection[str]], Items]
    """Returns the items that differ from a new process, and always the items of the given keys."""
    write: Callable[[str, Any], None]
    """Sets one item; raises if this is not possible."""
    module: str = ""
    """The module that owns the state: nothing is read or written before the module is imported."""
    borrowed: bool = False
    """This package or Modal's SDK also draws from the generator: the state is restored after such draws."""
    contextual: bool = False
    """The state is a context variable: a value set by an import outside a cell is not visible in the cell."""
    ours: bool = False
    """This package also changes the state between cells: such changes do not count as the user's."""


@dataclass(frozen=True, slots=True)
class Pickled:
    """A value that is not plain data, such as a formatting function, as a pickle by cloudpickle."""

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
    """Create a state whose items all have a default.

    Args:
        name: name of the state.
        read: returns all items.
        write: sets one item.
        default: returns the items of a new process.
        module: see `State`.
        contextual: see `State`.
    """

    def differing(asked: Collection[str]) -> Items:
        fresh = default()
        return {
            key: value
            for key, value in read().items()
            if key in asked or key not in fresh or (value is not fresh[key] and not is_same(value, fresh[key]))
        }

    return State(name, differing, write, module, contextual=contextual)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of an item are equal. Values that cannot be compared count as different."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except BaseException as error:  # noqa: BLE001 - a user's value may raise anything
        pass_on(error)
        return False


def difference(before: States, after: States) -> States:
    """Return the items of `after` that `before` lacks or has with another value."""
    changed = {
        name: {key: value for key, value in items.items() if not _has(before, name, key, value)}
        for name, items in after.items()
    }
    return {name: items for name, items in changed.items() if items}


def merged(states: States, newer: States) -> States:
    """Merge states; `newer` overwrites items that both have."""
    return {name: {**states.get(name, {}), **newer.get(name, {})} for name in {**states, **newer}}


def without(states: States, others: States) -> States:
    """Return the items of `states` whose keys `others` lacks."""
    left = {
        name: {key: items[key] for key in items.keys() - others.get(name, {}).keys()} for name, items in states.items()
    }
    return {name: items for name, items in left.items() if items}


def _has(states: States, name: str, key: str, value: Any) -> bool:
    items = states.get(name)
    return items is not None and key in items and is_same(items[key], value)


def encoded(states: States) -> States:
    """Return items for a message: values that are not plain data are pickled, or left out if this fails."""
    import cloudpickle

    coded: States = {}
    for name, items in states.items():
        for key, value in items.items():
            if _is_plain(value):
                coded.setdefault(name, {})[key] = value
            else:
                try:
                    coded.setdefault(name, {})[key] = Pickled(cloudpickle.dumps(value))
                except BaseException as error:  # noqa: BLE001 - a user's object may raise anything; the receiver keeps its own value
                    pass_on(error)
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
    """The state of this process, according to a table of states."""

    table: tuple[State, ...]
    waiting: States = field(default_factory=dict)
    """Items of states whose module is not imported yet: written after the import."""
    held: States = field(default_factory=dict)
    """Items that could not be written, such as the generator of a missing GPU: sent on unchanged."""
    _imports: ImportWatch = field(default_factory=ImportWatch)

    def read(self, asked: States) -> States:
        """Return the items that differ from a new process, and the items whose keys are in `asked`."""
        found = {state.name: self.items(state, asked.get(state.name, {})) for state in self.table}
        return {name: items for name, items in found.items() if items}

    def read_back(self, states: States) -> States:
        """Return written items as this process has them: a function, for example, is a new object."""
        found = {}
        for state in self.table:
            if items := states.get(state.name):
                now = self.items(state, items)
                found[state.name] = {key: now.get(key, value) for key, value in items.items()}
        return found

    def write(self, states: States) -> None:
        """Set items. Items of a module that is not imported are set after its import."""
        for state in self.table:
            items = states.get(state.name)
            if not items:
                continue
            if state.module and not is_loaded(state.module):
                self._wait(state, items)
            else:
                self._write(state, items)

    def items(self, state: State, known: Items) -> Items:
        """Return the items of a state that differ from a new process, and those of some keys.

        Args:
            state: the state. One that cannot be read, because a cell has replaced what has it, counts as unchanged.
            known: the items as they were, by the keys.
        """
        waiting = self.waiting.get(state.name)
        if waiting is not None:
            return dict(waiting)
        if state.module and not is_loaded(state.module):
            return {}
        try:
            return {**self.held.get(state.name, {}), **state.read(known.keys())}
        except BaseException as error:  # noqa: BLE001 - a user's object may raise anything
            pass_on(error)
            return dict(known)

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
            except BaseException as error:  # noqa: BLE001 - an option that the installed version lacks, a missing GPU
                pass_on(error)
                held[key] = value
