"""The names of a session's namespace: which ones the user has bound, and which ones the notebook has as well."""

from __future__ import annotations

import re
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.messages.events import LAST_RESULTS
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.referenced_globals import is_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_OF_THE_COMPILER: Final = re.compile(
    r"__(builtins_dict__|compiled_fn|comprehension|gen_rand_values|import|resume_at|warnings_warn_wrapper)_"
)
"""Globals that torch's compiler adds to those of a function (torch 2.13, `install_global` in `torch/_dynamo`)."""


class UserNames:
    """The names of a namespace, with the facts that set the user's names apart from those of IPython and of pickle.

    Args:
        namespace: the variables of the session.
        hidden: the names that IPython binds, with their values.

    Attributes:
        namespace: the variables of the session.
        hidden: the names that IPython binds, with their values; `%reset` binds some of them anew.
        known: names that are bound to the same objects in the notebook.
    """

    def __init__(self, namespace: dict[str, Any], hidden: Mapping[str, Any]) -> None:
        self.namespace, self.hidden = namespace, dict(hidden)
        self.known: set[str] = set()
        self._definitions: dict[str, Any] = {}
        """Classes and functions that arrived with values, by the names that were bound so that pickle finds them."""
        self._history: set[str] = set()
        """Names of IPython's inputs and outputs, and of torch's compiler, seen so far: they are passed over first."""

    @property
    def bound(self) -> tuple[str, ...]:
        """The user's names that are bound. A namespace has thousands of names: one pass, few calls."""
        hidden, history = self.hidden, self._history
        now = self.namespace.copy()  # a thread of the user may bind names meanwhile
        others = [name for name, value in now.items() if name not in history and hidden.get(name, self) is not value]
        named = [name for name in others if is_name(name) and (name[:1] != "_" or not self._is_of_others(name))]
        definitions, known = self._definitions, self.known
        if not definitions:
            return tuple(named)
        return tuple(name for name in named if definitions.get(name, self) is not now[name] or name in known)

    @property
    def definitions(self) -> tuple[str, ...]:
        """Names that are bound only so that pickle finds a class or a function."""
        return tuple(name for name, value in self._definitions.items() if self.namespace.get(name) is value)

    def _is_of_others(self, name: str) -> bool:
        """Whether IPython binds a name to inputs or results, or torch's compiler to parts of compiled functions."""
        if is_history(name) or _OF_THE_COMPILER.match(name):
            self._history.add(name)
            return True
        return name in LAST_RESULTS

    def is_own(self, name: str) -> bool:
        """Whether a name that is not in `known` is bound to a value that only the container has.

        Modules and the values that IPython binds do not count.
        """
        value = self.namespace.get(name)
        return name in self.namespace and not is_a(value, ModuleType) and self.hidden.get(name, self) is not value

    def bind_definition(self, name: str, value: Any) -> None:
        """Bind a class or a function that arrived with values to its name, so that pickle finds it."""
        self.namespace[name] = self._definitions[name] = value

    def bind_definitions(self, made: Mapping[str, Any], reads: Collection[str]) -> None:
        """Bind the classes and functions that arrived with the values of a cell, where their names are free.

        A cell that reads such a name gets the notebook's value of the name, or no value.

        Args:
            made: the classes and functions by name.
            reads: the names that the cell reads.
        """
        for name in self._definitions.keys() & set(reads):
            if self.namespace.get(name) is self._definitions[name] and name not in self.known:
                del self.namespace[name]
                del self._definitions[name]
        for name, value in made.items():
            if name not in self.namespace and name not in reads:
                self.bind_definition(name, value)


def is_history(name: str) -> bool:
    """Whether a name is an input or output of IPython (`_i`, `_i3`, `_3`), bound after `UserNames.hidden` is read."""
    return name.startswith("_") and (name in ("_i", "_ii", "_iii") or name.lstrip("_i").isdigit())
