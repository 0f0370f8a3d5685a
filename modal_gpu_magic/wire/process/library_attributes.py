"""The attributes of libraries and of classes that cells set: `numpy.float = float`, `pandas.DataFrame.peek = peek`.

Which ones cells set is read from the text of the cells. Plain data is sent as such; another object is pickled: what a
library has by its name, and a function of the notebook with the variables of the receiver's notebook.
"""

from __future__ import annotations

import builtins
import copy
import io
import pickle
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.assignments import Assignments, split
from modal_gpu_magic.wire.process.fixed_values import is_fixed
from modal_gpu_magic.wire.process.import_hook import ImportWatch, is_loaded
from modal_gpu_magic.wire.process.originals import (
    MISSING,
    attribute_of,
    follow,
    has_own_settings,
    holder_of,
    note_original,
    value_at,
)
from modal_gpu_magic.wire.process.own_functions import pickler
from modal_gpu_magic.wire.process.plain_data import MUTABLE, is_plain, set_plain
from modal_gpu_magic.wire.process.process_state import State
from modal_gpu_magic.wire.values.library_modules import is_own
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.referenced_globals import used_by

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from modal_gpu_magic.wire.process.process_state import Items

LIBRARY_ATTRIBUTES: Final = "library attributes"
LIBRARY_SETTINGS: Final = "library settings"
MOST_BYTES: Final = 100_000
"""Bytes of an object's pickle that is still sent: a function, no data."""

_OF_EACH_SIDE: Final = frozenset(
    {
        *("modal", "modal_proto", "modal_gpu_magic", "grpclib", "synchronicity", "cloudpickle", "xxhash"),
        *("IPython", "ipykernel", "ipywidgets", "jupyter_client", "jupyter_core", "comm", "traitlets"),
        *("tornado", "zmq", "__main__", "posix", "_thread", "importlib", "runpy", "site", "threading", "signal"),
    }
)
"""Top-level names of modules whose attributes belong to the program that runs the cells."""
_OF_SYS: Final = frozenset({"argv", "tracebacklimit", "ps1", "ps2"})
"""Attributes of `sys` that a program sets for itself."""
_BUILTINS: Final = frozenset(dir(builtins))

_ABSENT: Final = ()
_DATA, _PICKLE = "data", "pickle"


class LibraryAttributes:
    """Reads and writes the attributes of libraries and of classes that cells have set.

    Attributes:
        stays: whether the attributes of a module stay on this side, because this package's code uses the module between
            cells. What the other side has set is set here.
        put: sets an attribute of such a module.
    """

    def __init__(self, assigned: Assignments) -> None:
        self.stays: Callable[[str], bool] = lambda _: False
        self.put: Callable[[Any, str, Any], None] = setattr
        self._assigned = assigned
        follow(assigned.bound)
        self._settings: set[str] = set()
        """The keys of settings (`has_own_settings`), which torch keeps in context variables."""
        self._items: dict[str, tuple[Any, Any]] = {}
        """Object and item by key, so that an object is pickled once; the item is None if the object cannot be sent."""
        self._waiting: dict[str, Items] = {}
        """By the name of a module that is not imported yet: items to write then."""
        self._imports = ImportWatch()

    @property
    def states(self) -> tuple[State, State]:
        """The states for the table: an item an attribute, by `MODULE[:CLASS] ATTRIBUTE`."""
        return (
            State(LIBRARY_ATTRIBUTES, self._read_attributes, self._write),
            State(LIBRARY_SETTINGS, self._read_settings, self._write_setting, contextual=True),
        )

    @property
    def objects(self) -> list[Any]:
        """The objects that cells have set and that are no plain data."""
        self._assigned.look()
        held = (value_at(*place) for place in self._assigned.bound.values())
        return [value for value in held if value is not MISSING and not is_plain(value)]

    def names_used(self, namespace: dict[str, Any]) -> set[str]:
        """Return the names of the notebook that the objects use, and those bound to them: sources come with names."""
        objects = self.objects
        if not objects:
            return set()
        same = {id(each) for each in objects}
        return used_by(objects, namespace) | {name for name, value in namespace.items() if id(value) in same}

    @property
    def unsent(self) -> tuple[str, ...]:
        """The attributes that cells have set and that cannot be sent: `pandas.DataFrame.peek`."""
        keys = (key for key, (_, item) in self._items.items() if item is None)
        return tuple(map(shown, keys))

    def _read_attributes(self, asked: Collection[str]) -> Items:
        return self._read(asked, settings=False)

    def _read_settings(self, asked: Collection[str]) -> Items:
        self._settings.update(asked)
        return self._read(asked, settings=True) if self._settings else {}

    def _write_setting(self, key: str, item: Any) -> None:
        self._settings.add(key)
        self._write(key, item)

    def _read(self, asked: Collection[str], *, settings: bool) -> Items:
        self._assigned.look()
        for key in asked:
            self._assigned.bound.setdefault(key, split(key))
        found: Items = {}
        for key, (holder, name) in self._assigned.bound.items():
            module = _module_of(holder)
            if not _may_be_sent(module, holder, name):
                continue
            if has_own_settings(holder_of(holder)):
                self._settings.add(key)
            if (key in self._settings) is not settings:
                continue
            if key in self._waiting.get(module, {}):
                found[key] = self._waiting[module][key]
            elif self.stays(module):
                if key in self._items:
                    found[key] = self._items[key][1]
            elif is_loaded(module) and (item := self._item(key, value_at(holder, name))) is not None:
                found[key] = item
        data_elsewhere = self._assigned.in_own_modules  # plain data of these is a state of its own
        found = {key: item for key, item in found.items() if key not in data_elsewhere or item[:1] != (_DATA,)}
        return {key: item for key, item in found.items() if not _is_value(key, item)}

    def _item(self, key: str, value: Any) -> Any:
        """Return the item for a value; None: the value cannot be sent."""
        if value is MISSING:
            return _ABSENT
        if is_plain(value):
            self._items.pop(key, None)
            return _DATA, copy.deepcopy(value)
        known = self._items.get(key)
        if known is None or known[0] is not value:
            known = self._items[key] = value, _pickled(value) if is_fixed(value) else None
        return known[1]

    def _write(self, key: str, item: Any) -> None:
        holder, name = self._assigned.bound.setdefault(key, split(key))
        module = _module_of(holder)
        if not _may_be_sent(module, holder, name):
            return
        if is_loaded(module):
            self._set(key, holder, name, item)
        else:
            self._waiting.setdefault(module, {})[key] = item
            self._imports.watch(module, partial(self._set_waiting, module))

    def _set_waiting(self, module: str) -> None:
        for key, item in self._waiting.pop(module, {}).items():
            self._set(key, *split(key), item)

    def _set(self, key: str, holder: str, name: str, item: Any) -> None:
        found = holder_of(holder)
        if found is None:
            return
        present = attribute_of(found, name)
        if key not in self._items or present is not self._items[key][0]:  # the module may have been reloaded
            note_original(key, present)
        if item == _ABSENT:
            if name in vars(found):
                delattr(found, name)
            return
        kind, content = item
        value = content if kind == _DATA else pickle.loads(content)
        self._items[key] = value, item
        if self.stays(_module_of(holder)):
            self.put(found, name, value)
        elif kind == _DATA:
            set_plain(found, name, value)
        else:
            setattr(found, name, value)


def shown(key: str) -> str:
    """Return an item's key as a program would write it: `pandas.DataFrame.peek`."""
    return key.replace(" ", ".").replace(":", ".")


def data_of(item: Any) -> Any:
    """Return the plain data of an item; None: it is another object, or the attribute was deleted."""
    return item[1] if item and item[0] == _DATA else None


def _is_value(key: str, item: Any) -> bool:
    """Whether an item is a list, a set or a dict of a class of the user: a value, which others may share."""
    return type(data_of(item)) in MUTABLE and is_own(sys.modules.get(_module_of(split(key)[0])))


def _module_of(holder: str) -> str:
    return holder.partition(":")[0]


def _may_be_sent(module: str, holder: str, name: str) -> bool:
    if holder == "sys":
        return name in _OF_SYS
    if module == "builtins":
        return holder == "builtins" and name not in _BUILTINS
    return module.partition(".")[0] not in _OF_EACH_SIDE and not (name.startswith("__") and name.endswith("__"))


def _pickled(value: Any) -> Any:
    file = io.BytesIO()
    try:
        pickler()(file).dump(value)
    except BaseException as error:  # noqa: BLE001 - a user's object may raise anything while it is pickled
        pass_on(error)
        return None
    return (_PICKLE, file.getvalue()) if file.tell() <= MOST_BYTES else None
