"""The picklers: cloudpickle with additional rules for the values of a notebook. `wire.pickles.loading` loads them.

A function of the notebook is pickled without its globals: on the receiver's side its globals are the session's
namespace. The names that the function uses are sent as values of their own (`wire.values.referenced_globals`), under
the rule that an older value never overwrites a newer one.
"""

from __future__ import annotations

import copy
import copyreg
import functools
import pickle
import types
from typing import TYPE_CHECKING, Any

import cloudpickle

from modal_gpu_magic.wire.buffers.hashing import Hasher, HashingFile
from modal_gpu_magic.wire.pickles.identity import with_identity
from modal_gpu_magic.wire.pickles.receiver import BEGINNING
from modal_gpu_magic.wire.pickles.reducers import Bare, reducers
from modal_gpu_magic.wire.pickles.setstate import InPlace, parts_of, takes_state
from modal_gpu_magic.wire.pickles.types import cloudpickle_names
from modal_gpu_magic.wire.pickles.types.array_kinds import is_array, is_array_kind, is_plain_array
from modal_gpu_magic.wire.pickles.types.closures import Content, reduce_cell, reduce_closure, reduce_content
from modal_gpu_magic.wire.pickles.types.graphs import has_remote_graph
from modal_gpu_magic.wire.pickles.types.module_functions import named_global
from modal_gpu_magic.wire.pickles.types.notebook_functions import reduce_notebook_function
from modal_gpu_magic.wire.pickles.types.shared_memory import reduce_part
from modal_gpu_magic.wire.pickles.types.tensors import Device, is_by_storage, is_sliver
from modal_gpu_magic.wire.pickles.types.views import content_of
from modal_gpu_magic.wire.pickles.update_in_place import CONTAINERS
from modal_gpu_magic.wire.pickles.value_numbers import ValueNumbers, know_numpy
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.torch_facts import is_storage, storage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modal_gpu_magic.wire.pickles.identity import IdentityTable
    from modal_gpu_magic.wire.pickles.rules import Rules
    from modal_gpu_magic.wire.pickles.types.shared_memory import SharedMemory

OUT_OF_BAND_BYTES = 64 << 10
"""Buffers of at least this size are sent out of band: the size of a frame of the pickle format."""

_BY_NAME = (type, types.FunctionType, types.ModuleType)
"""Types whose objects are pickled by name if they can be imported."""

_STATE = 2
"""Index of the state (attributes and slots) in cloudpickle's reduction of a class or a function."""


def new_object(kind: type, *arguments: Any) -> Any:
    """Return an object without its state. Pickle refuses its own `__newobj__` if a stand-in is pickled."""
    return kind.__new__(kind, *arguments)


def new_object_ex(kind: type, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return an object without its state, of a type whose `__new__` takes keywords."""
    return kind.__new__(kind, *arguments, **keywords)


_PLAIN: dict[Any, Any] = {
    copyreg.__newobj__: new_object,  # type: ignore[attr-defined]  # as pickle names them
    copyreg.__newobj_ex__: new_object_ex,  # type: ignore[attr-defined]
}


def _has_numbers(value: Any) -> bool:
    """Whether a value is an array of numpy without Python objects."""
    return is_array(value) and not value.dtype.hasobject


def _is_ordinary(kind: type) -> bool:
    """Whether objects of a type without a reducer need only pickle's own rules."""
    of_memory = is_array_kind(kind) or is_by_storage(kind) or name_of(kind) == "UntypedStorage"
    return not (of_memory or kind in (types.CellType, Content, InPlace) or issubclass(kind, _BY_NAME))


def outermost(value: Any, table: IdentityTable | None = None) -> Any:
    """Return the object to dump for a name's value: a wrapper for large bytes and for small views of large storages."""
    if type(value) is bytes and len(value) >= OUT_OF_BAND_BYTES:
        return Bare(value)
    if table is not None and table.token(value):
        return value
    return Bare(value, alone=True) if _goes_alone(value, table) else value


def _goes_alone(value: Any, table: IdentityTable | None) -> bool:
    """Whether to send a tensor without its whole storage: a small view of a storage that the receiver lacks."""
    return is_sliver(value) and (table is None or not table.token(storage_of(value)))


def _offering(itself: list[CellPickler]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return the buffer callback of a pickler. With a method, the pickler would refer to itself."""

    def offer(buffer: pickle.PickleBuffer) -> bool:
        return itself[0].offer(buffer)

    return offer


class CellPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is published without types
    """Pickles values of a notebook.

    Args:
        file: anything with `write`.
        namespace: the notebook's globals. They are not pickled: a reference to them becomes a reference to the
            receiver's namespace.
        keep: `keep(view, temporary)` stores a large buffer out of band; None: all buffers stay in the stream.

    Attributes:
        session: the session that remote values must belong to; None: any.
        storages: torch storages in the stream so far, by `_cdata`.
        temporary: copies made only for this pickle.
        tensors: `id` of the tensors in the stream so far.
        modules: modules of the functions and classes that are pickled by name.
        is_stale: whether the receiver has newer content of a cell; None: the receiver has none.
        sends_graphs: pickle results of an autograd graph without the graph; False: refuse them.
        is_fingerprint: the output is hashed and never loaded.
        is_trial: the output only shows whether the value can be pickled.
        is_paired: the receiver has the sender's objects by their tokens.
        both_have: whether the other side has an object too; without a table, all objects count as such.
        computed: `id` of the tensors that a module computes anew before each forward pass.
        owner: the array or storage whose buffer comes next.
        memory: the memory that arrays and torch storages of the stream may share; None: torch is not loaded.
        carriers: by `id` of an array that is pickled as a view, the array that it is a view of.
    """

    def __init__(
        self, file: Any, namespace: dict[str, Any], keep: Callable[[memoryview, bool], None] | None = None
    ) -> None:
        self._itself: list[CellPickler] = [self]
        super().__init__(file, protocol=5, buffer_callback=None if keep is None else _offering(self._itself))
        self.globals_ref[id(namespace)] = namespace
        self.namespace = namespace
        self.session: str | None = None
        self.storages: dict[Any, Any] = {}
        self.temporary: list[Any] = []
        self.modules: set[str] = set()
        self.tensors: set[int] = set()
        self.sends_graphs = self.is_fingerprint = self.is_trial = self.is_paired = False
        self.both_have: Callable[[Any], Any] = lambda _: True
        self.is_stale: Callable[[types.CellType], bool] | None = None
        self.owner: Any = None
        self.carriers: dict[int, Any] = {}
        self.computed: set[int] = set()
        self.memory: SharedMemory | None = None
        self.memo: dict[int, tuple[int, Any]] = {id(namespace): (0, namespace)}
        self._keep = keep
        self._ordinary: set[type] = set()
        self._submodules: dict[types.CodeType, tuple[Any, ...]] = {}

    @functools.cached_property
    def rules(self) -> Rules:
        """The reducers by type; created when the first object needs one."""
        return reducers()

    def reducer_override(self, obj: Any) -> Any:
        """Return the reduction of an object that pickle and cloudpickle do not handle; NotImplemented for others."""
        kind = type(obj)
        if kind in self._ordinary:
            return NotImplemented
        reduced = self._of_stand_in(obj)
        if reduced is not None:
            return reduced
        reducer = self.rules.get(kind)
        if reducer is None and _is_ordinary(kind):
            self._ordinary.add(kind)
            return NotImplemented
        reduced = NotImplemented if reducer is None else reducer(self, obj)
        self._note(kind, obj)
        if reduced is not NotImplemented:
            return reduced
        if kind is types.FunctionType and obj.__globals__ is self.namespace and cloudpickle_names.is_by_value(obj):
            return self._of_function(obj)
        reduced = super().reducer_override(obj)
        if reduced is not NotImplemented:
            if issubclass(kind, types.FunctionType):
                reduced = reduce_closure(obj, reduced, self.is_stale)
            elif issubclass(kind, type) and len(reduced) > _STATE:
                reduced[_STATE][0].pop("__slotnames__", None)  # a cache that pickling an instance adds to its class
        elif issubclass(kind, _BY_NAME):
            self.modules.add(str(obj.__name__ if issubclass(kind, types.ModuleType) else obj.__module__))
        return reduced

    def _note(self, kind: type, obj: Any) -> None:
        """Record a tensor, or the owner of the next buffer."""
        if is_storage(obj) or is_array_kind(kind):
            self.owner = obj if is_storage(obj) or (is_plain_array(obj) and not obj.dtype.hasobject) else None
        elif is_by_storage(kind):
            self.tensors.add(id(obj))

    def _of_function(self, function: types.FunctionType) -> tuple[Any, ...]:
        """Return the reduction of a function of the notebook."""
        submodules = self._submodules_of(function.__code__)
        return reduce_notebook_function(function, self.namespace, submodules, self.is_stale)

    def _submodules_of(self, code: types.CodeType) -> tuple[types.ModuleType, ...]:
        """Return the submodules that a function's code reaches through packages in the notebook's globals."""
        found = self._submodules.get(code)
        if found is None:
            found = self._submodules[code] = cloudpickle_names.submodules_of(code, self.namespace)
        return found

    def _of_stand_in(self, obj: Any) -> Any:
        """Return the reduction of a closure cell, a view or a stand-in; None: the object is none of these."""
        kind = type(obj)
        if kind is types.CellType:
            return reduce_cell()
        if kind is Content:
            return reduce_content(obj)
        if kind is InPlace:
            return parts_of(self.reduce(obj.value))
        around = None
        if self.memory is not None and (is_storage(obj) or _has_numbers(obj)):
            around = self.memory.around(obj)
        if around is None:
            around = self.carriers.get(id(obj))
        return None if around is None else reduce_part(self, obj, around)

    def reduce(self, obj: Any) -> Any:
        """Return the reduction of an object, always as a tuple."""
        if type(obj) in (tuple, frozenset):
            return type(obj), (list(obj),)
        reduced = self.reducer_override(obj)
        if reduced is NotImplemented:
            registered = self.dispatch_table.get(type(obj)) or copyreg.dispatch_table.get(type(obj))
            reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if registered is None else registered(obj)
        if isinstance(reduced, str):  # the name of a global
            return named_global, (pickle.whichmodule(obj, reduced), reduced)  # type: ignore[attr-defined]
        return (_PLAIN.get(reduced[0], reduced[0]), *reduced[1:])

    def device(self, name: str) -> Any:
        """Return the object that represents a torch device in the stream."""
        return name

    def travels(self, value: Any) -> bool:
        """Whether a value can be pickled by itself."""
        return can_be_pickled(value, self.namespace)

    def objects(self) -> dict[int, Any]:
        """Return the objects in the stream that have an identity, by number, without temporary copies.

        The result has the order of the stream; the memo has the order of the addresses.
        """
        memo = self.memo.copy().values()
        ordered: list[Any] = [None] * (len(memo) + 1)
        for number, value in memo:
            ordered[number] = value.value if type(value) is Bare else value
        return with_identity(enumerate(ordered), (*self.temporary, self.namespace))

    def close(self) -> None:
        """Release the values: the pickler refers to itself, so that only the garbage collector would free it."""
        self._itself.clear()
        self.clear_memo()
        self.persistent_id = id  # up to Python 3.12 this is stored outside of `__dict__`
        self.__dict__.clear()

    def offer(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep a large buffer out of band; return whether the buffer belongs into the stream."""
        view = buffer.raw()
        inside = self._keep is None or view.nbytes < OUT_OF_BAND_BYTES
        if self._keep is not None and not inside:
            self._keep(view, any(view.obj is copied for copied in self.temporary))
        self.owner = None
        return inside


class HashPickler(CellPickler):
    """Pickles values for a fingerprint; the pickle is never loaded.

    Values that a program cannot distinguish have the same fingerprint: strings, tuples and other immutable values
    count by content, and identity counts only for objects that have an identity.

    Attributes:
        leaves: owners of large buffers in the stream, each with the digest of the buffer.
        digests: digests of the large buffers, in the order of the stream.
    """

    def __init__(self, file: Any, namespace: dict[str, Any], digest: Callable[[memoryview, bool], bytes]) -> None:
        know_numpy()
        super().__init__(file, namespace, self._take)
        self.leaves: list[tuple[Any, bytes]] = []
        self.digests: list[bytes] = []
        self.is_fingerprint = self.is_paired = True
        self._digest, self._values = digest, ValueNumbers()
        self.persistent_id = self._values.namer()

    def values_digest(self) -> bytes:
        """Return the digest of the immutable values that the stream has as numbers."""
        return self._values.digest()

    def _submodules_of(self, code: types.CodeType) -> tuple[types.ModuleType, ...]:  # noqa: ARG002 - the base class's signature
        """Return nothing: the modules that are loaded at present are no part of a value."""
        return ()

    def _take(self, view: memoryview, temporary: bool) -> None:  # noqa: FBT001 - a callback
        digest = self._digest(view, temporary)
        self.digests.append(digest)
        if self.owner is not None:
            self.leaves.append((self.owner, digest))


def can_be_pickled(value: Any, namespace: dict[str, Any]) -> bool:
    """Whether a value can be pickled by itself. Its large buffers are not read."""
    pickler = HashPickler(HashingFile(Hasher()), namespace, lambda _view, _temporary: b"")
    pickler.is_trial = True
    try:
        pickler.dump(outermost(value))
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is pickled
        pass_on(error)
        return False
    finally:
        pickler.close()
    return True


class TransferPickler(CellPickler):
    """Pickles values for a transfer; `wire.pickles.loading` loads the stream.

    Args:
        file: an object with `write`.
        namespace: see `CellPickler`.
        keep: see `CellPickler`.
        table: the objects that the receiver has. The stream has each as a persistent id; the first occurrence also has
            the object's content.
        unchanged: returns whether the receiver has the current content of a large buffer's owner.

    Attributes:
        top: the value that is being dumped.
        met: devices of the storages in the stream, other than the CPU.
        codes: code objects of the notebook's functions in the stream, by `id`.
        named: tokens of the objects that the stream names.
    """

    def __init__(
        self,
        file: Any,
        namespace: dict[str, Any],
        keep: Callable[[memoryview, bool], None] | None = None,
        table: IdentityTable | None = None,
        unchanged: Callable[[Any, int], bool] | None = None,
    ) -> None:
        super().__init__(file, namespace, keep)
        self.top: Any = None
        self.met: set[str] = set()
        self.codes: dict[int, types.CodeType] = {}
        self.named: set[int] = set()
        self._devices: dict[str, Device] = {}
        self._table = table
        self._stale = frozenset() if table is None else table.stale
        self._unchanged = unchanged
        self.is_paired = table is not None
        if table is not None and table.stale:
            self.is_stale = lambda cell: table.token(cell) in table.stale
        if table is not None and table.token_of:
            self.persistent_id = self._namer(table.token_of)
        file.write(BEGINNING)

    def _namer(self, tokens: Mapping[int, int]) -> Callable[[Any], Any]:
        """Return the `persistent_id` function: it names an object by its token if the receiver has the object.

        A closure is twice as fast as a method. It is not installed while the table has no tokens.
        """
        find, known = tokens.get, self._known

        def name(obj: Any) -> Any:
            token = find(id(obj))
            return None if token is None else known(obj, token)

        return name

    def _of_function(self, function: types.FunctionType) -> tuple[Any, ...]:
        """Record the code object and return the reduction of a function of the notebook."""
        self.codes[id(function.__code__)] = function.__code__
        return super()._of_function(function)

    def device(self, name: str) -> Any:
        """Return a stand-in for a device: the loader decides where the storage goes."""
        if name == "cpu":
            return name
        self.met.add(name)
        return self._devices.setdefault(name, Device(name))

    def _known(self, obj: Any, token: int) -> tuple[Any, ...]:
        kind = type(obj)
        known = token in self.named or token in self._stale or kind is types.CellType or has_remote_graph(obj)
        self.named.add(token)
        if kind is types.CellType and obj is self.top:
            return token, kind, Content(obj)
        if known or (self._unchanged is not None and self._unchanged(obj, token)):
            return token, kind
        if kind in CONTAINERS:
            self.temporary.append(copy.copy(obj))
            return token, kind, self.temporary[-1]
        if (carrier := self.carriers.get(id(obj))) is not None:
            return token, kind, content_of(obj, carrier)
        if takes_state(kind) and self.rules.are_pickles(kind):
            return token, kind, InPlace(obj)
        return token, kind, Bare(obj, alone=obj is self.top and _goes_alone(obj, self._table))
