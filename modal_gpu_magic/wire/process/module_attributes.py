"""The attributes of the user's modules that cells set: `config.lr = 0.5` holds on both sides, whichever has set it.

A module of the user runs on each side from its file, so its attributes begin alike. Which ones cells set is read from
the text of the cells, as IPython has kept them; from then on an attribute is compared like any other state. This state
is plain data that no call changes, and needs no import of the module. Lists, dicts and other objects, which variables
may share, cross as values (`wire.inspection.own_modules`).
"""

from __future__ import annotations

import copy
import sys
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.assignments import Assignments, split
from modal_gpu_magic.wire.process.import_hook import ImportWatch, is_loaded
from modal_gpu_magic.wire.process.plain_data import MUTABLE, is_plain, set_plain
from modal_gpu_magic.wire.process.process_state import State
from modal_gpu_magic.wire.values.kinds import is_a

if TYPE_CHECKING:
    from collections.abc import Collection

    from modal_gpu_magic.wire.process.process_state import Items

MODULE_ATTRIBUTES: Final = "module attributes"


class ModuleAttributes:
    """Reads and writes the attributes of the user's modules that cells have set."""

    def __init__(self, assigned: Assignments) -> None:
        self._assigned = assigned
        self._waiting: dict[str, dict[str, Any]] = {}
        """By the name of a module that is not imported yet: the attributes to set then."""
        self._imports = ImportWatch()

    @property
    def state(self) -> State:
        """The state for the table: an item an attribute, by `MODULE ATTRIBUTE`."""
        return State(MODULE_ATTRIBUTES, self._read, self._write)

    @property
    def _found(self) -> dict[str, tuple[str, str]]:
        return self._assigned.in_own_modules

    def _read(self, asked: Collection[str]) -> Items:
        self._assigned.look()
        for key in asked:
            self._found.setdefault(key, split(key))
        values: Items = {}
        for key, (module, name) in self._found.items():
            if name in self._waiting.get(module, ()):
                values[key] = self._waiting[module][name]
            elif name in (names := _names(module)) and is_plain(names[name]) and type(names[name]) not in MUTABLE:
                values[key] = copy.deepcopy(names[name])
        return values

    def _write(self, key: str, value: Any) -> None:
        module, name = self._found.setdefault(key, split(key))
        if is_loaded(module):
            set_plain(sys.modules[module], name, value)
        else:
            self._waiting.setdefault(module, {})[name] = value
            self._imports.watch(module, partial(self._set_waiting, module))

    def _set_waiting(self, module: str) -> None:
        for name, value in self._waiting.pop(module, {}).items():
            set_plain(sys.modules[module], name, value)


def _names(module: str) -> dict[str, Any]:
    """Return the attributes of an imported module; none if it is not imported, or no module is in its place."""
    found: Any = sys.modules.get(module)
    return vars(found) if is_a(found, ModuleType) and is_loaded(module) else {}
