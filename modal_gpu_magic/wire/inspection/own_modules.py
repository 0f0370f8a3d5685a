"""The variables of the user's modules, of their classes and functions: what has changed since a module was imported.

A module of the user runs on each side from its file, so that both sides begin alike. What becomes of a registry, a
configuration, a counter after that is a value like those of the notebook. It crosses under the name of its place,
`<config:cfg>`, which no variable of the notebook has. On the receiver's side, its object is the one that the module has
there, or takes its place.
"""

from __future__ import annotations

import sys
import time
import types
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.messages.place_names import place_in, place_name, top_level
from modal_gpu_magic.wire.pickles.counting import Counter, LimitReached
from modal_gpu_magic.wire.pickles.fingerprints import ATOMS, TREE, is_flat, look, why_not
from modal_gpu_magic.wire.pickles.identity import with_identity
from modal_gpu_magic.wire.pickles.types.module_objects import by_content
from modal_gpu_magic.wire.process.import_hook import OwnImports, is_loaded
from modal_gpu_magic.wire.values.changed_globals import check_with
from modal_gpu_magic.wire.values.kinds import is_a, module_of
from modal_gpu_magic.wire.values.library_modules import is_own
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.referenced_globals import OF_THE_KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from modal_gpu_magic.wire.pickles.identity import IdentityTable

MOST_BYTES, MOST_STREAM_BYTES, MOST_OBJECTS = 64_000_000, 4_000_000, 5_000
"""Size of a variable that is still followed: a configuration, a registry or a small model, no data set.

Bytes in all, and those besides the memory of arrays, which take longer to compare.
"""
COUNT_SECONDS: Final = 0.5
"""CPU time in seconds that counting may take. Only objects whose classes are slow reach this limit."""
FEW_ITEMS, FEW_BYTES = 100, 1_000
"""Items of a container, and bytes of each, that is not counted first."""
_NONE: Final[Mapping[str, Any]] = types.MappingProxyType({})
MISSING: Final = object()
"""Stands for the value of a place that does not exist."""

_LARGE, _OPAQUE = "large", "opaque"
_BY_IDENTITY: Final = (
    *(type, types.FunctionType, types.BuiltinFunctionType, types.MethodType),
    *(property, classmethod, staticmethod),
)
"""Types of variables that only change by being bound again."""
_IMMUTABLE: Final = (tuple, frozenset, str, bytes, int, float, complex)


State: TypeAlias = "tuple[int, bytes | str]"


class _Facts(NamedTuple):
    """What is known of a variable.

    Attributes:
        constant: the value, if it cannot change; MISSING: it can.
        key: `id` of the value; 0: any equal value is the same.
        content: digest of the content, or why there is none.
    """

    constant: Any
    key: int
    content: bytes | str


class OwnModules:
    """The user's modules of this process.

    Attributes:
        namespace: the variables of the notebook.
        unsent: the changed variables that cannot be sent, by their place's name, each with the reason.
    """

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        self.unsent: dict[str, str] = {}
        self._modules: dict[str, types.ModuleType] = {}
        self._as_imported: dict[str, _Facts] = {}
        self._changed_before: dict[str, int] = {}
        """Variables that had changed before the present import, each with the `id` of its value."""
        self._constants: dict[str, dict[str, Any]] = {}
        """By module, the values that cannot change, by their variables' paths."""
        self._holders: dict[str, dict[str, Any]] = {}
        """By module, the classes and functions that it defines."""
        self._bound: dict[str, int] = {}
        """`id` of the value of each variable when both sides had it. Nothing refers to one that has died."""
        self._waiting: dict[str, dict[str, Any]] = {}
        """By the name of a module that is not imported yet: values by the name of their place."""
        check_with(self._has_changed)

    def follow(self, namespace: dict[str, Any], set_by_cells: Callable[[], Iterable[str]] = tuple) -> None:
        """Follow the modules that are imported already; `OwnImports` reports the others.

        Args:
            namespace: the variables of the notebook.
            set_by_cells: returns the places of variables that cells have set before.
        """
        self.namespace = namespace
        others = [(name, module) for name, module in list(sys.modules.items()) if name not in self._modules]
        found = [name for name, module in others if is_own(module) and is_loaded(name)]
        if found:
            self._changed_before = {name: id(self.value_at(name)) for name in set_by_cells()}
            self._note_imported(found)

    def leave(self) -> None:
        """Follow no modules."""
        self._modules.clear()
        self._as_imported.clear()
        self._constants.clear()
        self._holders.clear()
        self._bound.clear()
        self._waiting.clear()
        self.unsent.clear()

    @property
    def loaded(self) -> frozenset[str]:
        """The names of the modules that are imported."""
        return frozenset(name for name, module in self._modules.items() if sys.modules.get(name) is module)

    @property
    def is_in_use(self) -> bool:
        """Whether any module is followed, or waited for."""
        return bool(self._modules or self._waiting)

    def variables(self) -> dict[str, Any]:
        """Return all variables, by the name of their place."""
        return dict(self._variables())

    def places(self) -> dict[str, Any]:
        """Return the variables that are not the constants that an import has made, by the name of their place."""
        return dict(self._variables(but_constants=True))

    def changed(
        self, of: Collection[str] | None = None, *, but: Collection[str] = (), hasher: Hasher | None = None
    ) -> dict[str, Any]:
        """Return the variables that have changed since their module was imported, by the name of their place.

        What waits for the import of its module counts as changed.

        Args:
            of: top-level names of the modules; None: all.
            but: variables that are not looked at.
            hasher: has the facts of values that were looked at since user code ran.
        """
        waiting = {name: value for each in self._waiting.values() for name, value in each.items()}
        found = _chosen(self.places() | waiting, of, but)
        differs = partial(self._differs, hasher=hasher or Hasher())
        return {name: value for name, value in found.items() if name in waiting or differs(name, value)}

    def large(self, of: Collection[str], but: Collection[str], hasher: Hasher) -> dict[str, Any]:
        """Return the variables that are too large to be followed. The arguments are those of `changed`."""
        found = _chosen(self.places(), of, but)
        return {name: value for name, value in found.items() if self._facts(value, hasher).content == _LARGE}

    def state(self, value: Any, hasher: Hasher) -> State:
        """Return what tells a variable's value from another one: the object, and its content if that is followed."""
        return id(value), self._facts(value, hasher).content

    def _differs(self, name: str, value: Any, hasher: Hasher) -> bool:
        """Whether a variable differs from what its module's import has made."""
        return self._as_imported.get(name) != self._facts(value, hasher)

    def _has_changed(self, module: str, name: str) -> bool:
        place = place_name(module, name)
        return self._differs(place, self.value_at(place), Hasher())

    def homes(self, objects: Iterable[Any]) -> dict[str, Any]:
        """Return the variables that are bound to one of some objects, by the name of their place."""
        keys = {id(value) for value in objects}
        return {name: value for name, value in self._variables() if id(value) in keys} if keys else {}

    def sendable(
        self, variables: Mapping[str, Any], hasher: Hasher | None = None, *, of_any_size: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return the variables that can be sent; note why others cannot. `of_any_size`: variables without a limit."""
        hasher = hasher or Hasher()
        found: dict[str, Any] = {}
        for name, value in variables.items():
            facts = self._facts(value, hasher)
            if facts.content == _LARGE and name not in of_any_size:
                self._note_large(name, value)
            elif facts.content == _OPAQUE and (why := self._why_not(value)):
                self.unsent[name] = why
            else:
                found[name] = value
        return found

    def _note_large(self, name: str, value: Any) -> None:
        """Note that a variable is not followed: what it holds is not read, so that it may have changed."""
        if name not in self.unsent:
            module, path = place_in(name) or ("", "")
            cure = f" (a name of the notebook that has it sends it: from {module} import {path})"
            self.unsent[name] = (
                f"it has {size_text(nbytes_of(value))}, and the limit is {size_text(MOST_BYTES)} of arrays, "
                f"{size_text(MOST_STREAM_BYTES)} and {MOST_OBJECTS:,} objects of all else{'' if '.' in path else cure}"
            )

    def _why_not(self, value: Any) -> str | None:
        with by_content(value):
            return why_not(value, self.namespace)

    def values_at(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of the places that exist."""
        found = {name: self.value_at(name) for name in names}
        return {name: value for name, value in found.items() if value is not MISSING}

    def value_at(self, name: str) -> Any:
        """Return the value of a place, or the one that waits for its module; MISSING: there is no such variable."""
        module, path = place_in(name) or ("", "")
        if not is_loaded(module):
            return self._waiting.get(module, {}).get(name, MISSING)
        holder, attribute = _holder(sys.modules[module], path)
        return MISSING if holder is None else vars(holder).get(attribute, MISSING)

    def take(self, values: dict[str, Any]) -> dict[str, Any]:
        """Set the variables among received values, and remove them from the values; return them."""
        taken = {name: values.pop(name) for name in list(values) if place_in(name) is not None}
        for name, value in taken.items():
            self.assign(name, value)
            self._bound[name] = id(value)
        return taken

    def assign(self, name: str, value: Any) -> None:
        """Set a variable; if its module is not imported yet, after the import."""
        module, path = place_in(name) or ("", "")
        if is_loaded(module):
            _set(sys.modules[module], path, value)
        else:
            self._waiting.setdefault(module, {})[name] = value

    def claims(self, objects: Iterable[Any], table: IdentityTable) -> dict[int, str]:
        """Return the places of those objects that modules have, by their tokens; objects without a token get one.

        At a place that was bound again since both sides had it, the other side has another object.
        """
        found: dict[int, str] = {}
        for name, value in self.homes(with_identity(enumerate(objects)).values()).items():
            if not table.token(value):
                table.bind(table.next_base(), value)
            if self._bound.get(name) == id(value):
                found.setdefault(table.token(value), name)
        return found

    def note_shared(self, keys: Mapping[str, int]) -> None:
        """Note that both sides have variables, with the `id` of this side's value of each."""
        self._bound.update(keys)

    def finder(self, places: Mapping[int, str], table: IdentityTable) -> Callable[[int, type], Any] | None:
        """Return a function that finds the object of a token and a type at its place; None: there are no places.

        An object that has another token, or another type, is not meant. Nor is an immutable one: the sender's takes its
        place.
        """

        def find(token: int, kind: type) -> Any:
            value = self.value_at(places[token]) if token in places else None
            is_same = type(value) is kind and not issubclass(kind, _IMMUTABLE) and not table.token(value)
            return value if is_same else None

        return find if places else None

    def _variables(self, *, but_constants: bool = False) -> Iterator[tuple[str, Any]]:
        """Yield the variables of the modules, and of the classes and functions that are defined in them."""
        for module_name in self.loaded:
            constants = self._constants.get(module_name, _NONE) if but_constants else _NONE
            holders = self._holders.get(module_name, _NONE)
            for name, value in list(vars(self._modules[module_name]).items()):
                is_new = constants.get(name, MISSING) is not value
                if is_new and _is_followed(name, value):
                    yield place_name(module_name, name), value
                if holders.get(name, MISSING) is value or (is_new and _is_made_by(module_name, name, value)):
                    for attribute, each in list(vars(value).items()):
                        path = f"{name}.{attribute}"
                        is_new = constants.get(path, MISSING) is not each
                        if is_new and _is_followed(attribute, each) and not hasattr(type(each), "__get__"):
                            yield place_name(module_name, path), each

    def _facts(self, value: Any, hasher: Hasher) -> _Facts:
        found: _Facts | None = hasher.facts.get(id(value))
        if found is None:
            found = hasher.facts[id(value)] = self._look(value, hasher)
        return found

    def _look(self, value: Any, hasher: Hasher) -> _Facts:
        kind = type(value)
        if is_a(value, _BY_IDENTITY):
            return _Facts(value, id(value), _OPAQUE)
        with by_content(value):
            if _is_large(value):
                return _Facts(MISSING, id(value), _LARGE)
            found = look((value,), self.namespace, hasher, graphs=True)
        if found is None:
            return _Facts(MISSING, id(value), _OPAQUE)
        if kind in ATOMS and sys.getsizeof(value) <= FEW_BYTES:
            return _Facts(value, 0, found.stream)
        return _Facts(MISSING, id(value), found.stream)

    def import_begins(self) -> None:
        """Note what had changed before an import."""
        self._changed_before = {name: id(value) for name, value in self.changed().items()}

    def module_ran(self, module: types.ModuleType) -> None:
        """Set the variables that have waited for a module."""
        for name, value in self._waiting.pop(module.__name__, {}).items():
            _set(module, (place_in(name) or ("", ""))[1], value)
            self._changed_before[name] = id(value)

    def import_ends(self, names: list[str]) -> None:
        """Note what an import has made of the variables."""
        self._note_imported([name for name in names if is_own(sys.modules.get(name))])

    def _note_imported(self, names: Iterable[str]) -> None:
        """Note what the variables are after an import, those of other modules as well: modules register with others.

        A variable that had changed before counts as changed, unless the import has bound it again.
        """
        before, self._changed_before = self._changed_before, {}
        self._modules.update({name: sys.modules[name] for name in names})
        hasher = Hasher()
        for name, value in self._variables(but_constants=True):
            if before.get(name) != id(value):
                facts = self._as_imported[name] = self._facts(value, hasher)
                self._bound[name] = id(value)
                self._note_constant(name, value, facts)
        hasher.release()

    def _note_constant(self, name: str, value: Any, facts: _Facts) -> None:
        """Note a variable that is passed over as long as it is bound to this value."""
        module, path = place_in(name) or ("", "")
        constants = self._constants.setdefault(module, {})
        constants.pop(path, None)
        if facts.constant is value:
            constants[path] = value
        if _is_made_by(module, path, value):
            self._holders.setdefault(module, {})[path] = value


def _chosen(variables: Mapping[str, Any], of: Collection[str] | None, but: Collection[str]) -> dict[str, Any]:
    """Return the variables of some modules, by their top-level names, but for some."""
    named = ((name, value) for name, value in variables.items() if name not in but)
    return {name: value for name, value in named if of is None or top_level(name) in of}


def _is_small(value: Any) -> bool:
    """Whether a list, a dict or a tuple has few items, each of them a number or a short text."""
    if len(value) > FEW_ITEMS or not is_flat(value):
        return False
    items = (*value.keys(), *value.values()) if type(value) is dict else value
    return all(sys.getsizeof(each) <= FEW_BYTES for each in items)


def _is_large(value: Any) -> bool:
    """Whether a value has too many bytes or objects. One that cannot be pickled is not large."""
    if type(value) in ATOMS:
        return sys.getsizeof(value) > MOST_STREAM_BYTES
    if type(value) in TREE and _is_small(value):
        return False
    counter = Counter(MOST_OBJECTS, time.thread_time() + COUNT_SECONDS)
    try:
        return counter.count(value) > MOST_BYTES or counter.stream > MOST_STREAM_BYTES
    except LimitReached:
        return True
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is pickled
        pass_on(error)
        return False
    finally:
        counter.close()


def _holder(module: Any, path: str) -> tuple[Any, str]:
    """Return the module, class or function that has a variable, and the attribute; None: there is none."""
    *classes, attribute = path.split(".")
    holder: Any = module if is_a(module, types.ModuleType) else None
    for each in classes:
        found = None if holder is None else vars(holder).get(each)
        holder = found if is_a(found, type | types.FunctionType) else None
    return holder, attribute


def _set(module: Any, path: str, value: Any) -> None:
    holder, attribute = _holder(module, path)
    if holder is not None and vars(holder).get(attribute, MISSING) is not value:
        try:
            setattr(holder, attribute, value)
        except BaseException as error:  # noqa: BLE001 - a metaclass of the user may refuse with anything
            pass_on(error)


def _is_followed(name: Any, value: Any) -> bool:
    """Whether a variable may be state: modules, parts of the kernel and Python's own names are none."""
    if type(name) is not str or (name.startswith("__") and name.endswith("__")) or is_a(value, types.ModuleType):
        return False
    return module_of(type(value)).partition(".")[0] not in OF_THE_KERNEL


def _is_made_by(module: str, name: str, value: Any) -> bool:
    """Whether a variable is a class or a function that its module defines."""
    if is_a(value, types.FunctionType):
        return (value.__module__, value.__qualname__) == (module, name)
    return is_a(value, type) and (module_of(value), value.__qualname__) == (module, name)


_own: Final = OwnModules()


def own_modules() -> OwnModules:
    """Return the user's modules of this process."""
    return _own


def follow_imports(namespace: dict[str, Any]) -> None:
    """Follow the user's modules of a container's process; `namespace`: the variables of the notebook."""
    _own.follow(namespace)
    OwnImports(own_modules).install()
