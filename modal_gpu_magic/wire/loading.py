"""The loader: pickle's own, fast one, that knows the session's namespace and the objects that are here already.

It takes a value as a whole or not at all. What to do when one cannot be made is in `wire.salvage`.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.absorb import CONTAINERS, absorb
from modal_gpu_magic.wire.reasons import NotHereError, missing_module, missing_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMESPACE = "namespace"
"""Persistent id of the session's namespace; a device's is its name, a root's begins with its number."""


class Roots:
    """The objects of one transfer that can be written into in place, by number.

    Args:
        here: those that are here already; what arrives is written into them where it can be.
    """

    def __init__(self, here: Mapping[int, Any]) -> None:
        self._here, self._objects = here, dict[int, Any]()
        self.written: set[int] = set()

    def take(self, number: int, kind: type, *content: Any) -> Any:
        """The object of that number. Where it comes first the stream has its content; a cycle may ask for it sooner."""
        if number not in self._objects:
            self._objects[number] = self._first(number, kind, *content)
        elif content and absorb(self._objects[number], content[0]) and self._objects[number] is self._here.get(number):
            self.written.add(number)
        return self._objects[number]

    def _first(self, number: int, kind: type, *content: Any) -> Any:
        old = self._here.get(number)
        if not content:
            return old if type(old) is kind and kind in CONTAINERS else kind()
        if old is not None and absorb(old, content[0]):
            self.written.add(number)
            return old
        return content[0]


class Resolving:
    """What both loaders do alike: where names, persistent ids and devices lead."""

    def __init__(
        self,
        file: Any,
        namespace: dict[str, Any],
        roots: Roots,
        buffers: Iterable[Any] = (),
        *,
        restore_devices: bool = False,
    ) -> None:
        super().__init__(file, buffers=buffers)  # type: ignore[call-arg]  # pickle's, by the classes below
        self.namespace, self.roots, self.restore_devices = namespace, roots, restore_devices

    def find_class(self, module: str, name: str) -> Any:
        """A class or function by name; what `__main__` means is the namespace.

        Raises:
            NotHereError: it is not here, with what to say of it.
        """
        if module == "__main__":
            return self._of_namespace(name)
        try:
            return super().find_class(module, name)  # type: ignore[misc]  # pickle's, by the classes below
        except ModuleNotFoundError as error:
            raise NotHereError(missing_module(error.name or module)) from error
        except AttributeError as error:
            raise NotHereError(missing_name(module, name)) from error

    def persistent_load(self, pid: Any) -> Any:
        """The namespace, the device for a storage, or a root."""
        if isinstance(pid, tuple):
            return self.roots.take(*pid)
        if pid == NAMESPACE:
            return self.namespace
        return pid if self.restore_devices else "cpu"

    def _of_namespace(self, name: str) -> Any:
        first, *rest = name.split(".")
        try:
            found = self.namespace[first]
            for part in rest:
                found = getattr(found, part)
        except (KeyError, AttributeError) as error:
            raise NotHereError(missing_name("__main__", name)) from error
        return found


class Loader(Resolving, pickle.Unpickler):
    """Loads one pickle after another from a file; they share what they have in common."""
