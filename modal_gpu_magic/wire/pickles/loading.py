"""The fast loader: pickle's C unpickler with the session's namespace and the objects that this side already has.

The loader loads a value completely or raises. `wire.pickles.tolerant_unpickler` handles values that cannot be loaded.
"""

from __future__ import annotations

import pickle
import types
from collections import Counter
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.pickles import receiver
from modal_gpu_magic.wire.pickles.library_writers import absorb_tensor, can_take
from modal_gpu_magic.wire.pickles.setstate import Parts, class_of
from modal_gpu_magic.wire.pickles.types.notebook_functions import content_of
from modal_gpu_magic.wire.pickles.types.tensors import is_plain
from modal_gpu_magic.wire.pickles.types.views import IndexedView, View, ViewOfKind
from modal_gpu_magic.wire.pickles.update_in_place import absorb, placeholder, take_class
from modal_gpu_magic.wire.values.reasons import NotHereError, missing_module, missing_name
from modal_gpu_magic.wire.values.torch_facts import is_storage, storage_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.wire.pickles.identity import IdentityTable


_EMPTY = object()
"""Stands for the content of an empty cell."""


class Known:
    """The objects that a transfer names by token, because the receiver already has them.

    Args:
        table: the receiver's identity table; None: the receiver has no objects.
        only: tokens of the objects to write into; other objects of the receiver keep their content. None: all.
        homes: returns the receiver's object for a token and a type that the table does not have, or None.

    Attributes:
        current: tokens of the objects whose current content the receiver now has.
        discarded: temporary objects whose content was written into known objects.
    """

    def __init__(
        self,
        table: IdentityTable | None = None,
        only: AbstractSet[int] | None = None,
        homes: Callable[[int, type], Any] | None = None,
    ) -> None:
        self._table, self._only, self._homes = table, only, homes
        self._objects: dict[int, Any] = {}
        self._empty: set[int] = set()
        self.current: set[int] = set()
        self.discarded: list[Any] = []
        self._tensors: list[tuple[Any, Any]] = []
        self._storages: set[int] = set()
        self._cells: dict[int, tuple[types.CellType, Any]] = {}
        """By token, cells to leave as they are, each with its content: any function that has a cell fills the cell."""

    def take(self, token: int, kind: type, *content: Any) -> Any:
        """Return the object of a token.

        Args:
            token: token of the object.
            kind: type of the object.
            content: an object of the same type whose content is written into the receiver's object; empty: the
                receiver has the current content, or the stream has the content at another place.
        """
        self.current.add(token)
        known = self._find(token, kind)
        if kind is types.CellType and known is not None and not self._writes(token):
            self._cells.setdefault(token, (known, content_of(known, _EMPTY)))
        elif content and known is not None and not (self._writes(token) or token in self._empty):
            self.discarded += content
        elif content:
            self._empty.discard(token)
            if class_of(*content) is kind:  # not so where each side has an object of its own, such as sys.stdout
                take_class(known, kind)
            known = self._written(known, *content)
        elif known is None:
            try:
                known = placeholder(kind)
            except TypeError:
                raise UnknownObjectsError(f"the receiver does not have an object of {kind.__name__}") from None
            if kind is not types.CellType:  # the function that has the cell fills it
                self._empty.add(token)
        self._objects[token] = known
        return known

    def _find(self, token: int, kind: type) -> Any:
        """Return the receiver's object of a token; None: the receiver has none."""
        known = self._objects.get(token)
        if known is not None or self._table is None:
            return known
        known = self._table.find(token)
        if known is None and self._homes is not None:
            known = self._homes(token, kind)
        if is_storage(known):
            self._storages.add(known._cdata)  # noqa: SLF001 - its identity, as torch.save has it
        return known

    def _writes(self, token: int) -> bool:
        return self._only is None or token in self._only

    def _written(self, known: Any, new: Any) -> Any:
        """Write `new` into `known` and return `known`; return the new object if that is not possible."""
        if type(new) is Parts:
            if known is not None and new.is_whole:
                new.write(known)
                return known
            new = new.new()
        if type(new) in (View, IndexedView, ViewOfKind):
            return new.into(known)
        if known is None or known is new:
            return new
        if is_plain(known) and can_take(known, new):
            self._tensors.append((known, new))
        elif not absorb(known, new):
            return new
        self.discarded.append(new)
        return known

    def give_up(self, token: int) -> Any:
        """Forget an object whose new content is lost; return what the transfer has taken for it, if anything."""
        self._empty.discard(token)
        self.current.discard(token)
        return self._objects.pop(token, None)

    def restore_cells(self) -> None:
        """Give the cells that are not to be written into their content back."""
        for cell, content in self._cells.values():
            if content is not _EMPTY:
                cell.cell_contents = content

    def settle(self, memo: Mapping[int, Any]) -> None:
        """Finish a transfer: write the content of tensors, and register new objects of known tokens in the table.

        Tensors come last, because storages shared within the transfer must be known: a tensor that shares its storage
        with no other object of the transfer keeps its present storage, which other tensors of this side may share.

        Args:
            memo: the objects of the stream, by number.

        Raises:
            UnknownObjectsError: the transfer names objects that the receiver does not have.
        """
        self.restore_cells()
        if self._empty:
            raise UnknownObjectsError(f"the receiver does not have {len(self._empty)} objects of the transfer")
        if self._tensors:
            users = Counter(storage_id(value) for value in memo.values() if is_plain(value))
            for known, new in self._tensors:
                storage = storage_id(new)
                absorb_tensor(known, new, shares=storage in self._storages or users[storage] > 1)
        if self._table is not None:
            for token, value in self._objects.items():
                if self._table.find(token) is not value:
                    self._table.replace(token, value)


class UnknownObjectsError(TransferError):
    """A transfer names objects by tokens that the receiver does not have. The sender must send the objects again."""


class Resolving:
    """Base of both loaders: resolves names, persistent ids and devices."""

    def __init__(
        self,
        file: Any,
        namespace: dict[str, Any],
        known: Known,
        buffers: Iterable[Any] = (),
        *,
        restore_devices: bool = False,
    ) -> None:
        super().__init__(file, buffers=buffers)  # type: ignore[call-arg]  # pickle's, by the classes below
        self.namespace, self.known, self.restore_devices = namespace, known, restore_devices

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function by name; names of `__main__` are looked up in the namespace.

        Raises:
            NotHereError: this process does not have the class or function; the message has the reason.
        """
        if module == "__main__":
            return self._of_namespace(name)
        if module == receiver.__name__:
            return self.namespace if name == receiver.namespace.__name__ else self._device
        try:
            return super().find_class(module, name)  # type: ignore[misc]  # pickle's, by the classes below
        except ModuleNotFoundError as error:
            raise NotHereError(missing_module(error.name or module)) from error
        except AttributeError as error:
            raise NotHereError(missing_name(module, name)) from error

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        """Return an object that the stream names by token."""
        return self.known.take(*pid)

    def _device(self, name: str) -> str:
        """Return the device to load a storage to."""
        return name if self.restore_devices else "cpu"

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
    """Loads one pickle after another from a file; the pickles share one memo."""
