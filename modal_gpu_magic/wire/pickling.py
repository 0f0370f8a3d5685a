"""The picklers: cloudpickle, and what the values of a notebook need beyond it. Loading is in `wire.loading`.

A function of the notebook travels without its globals: there they are the session's namespace itself, and the names it
uses travel by themselves (`wire.reach`), each under the rule that an older value never overwrites a newer one.
"""

from __future__ import annotations

import copy
import pickle
import types
from typing import TYPE_CHECKING, Any

import cloudpickle

from modal_gpu_magic.wire.absorb import CONTAINERS
from modal_gpu_magic.wire.loading import NAMESPACE
from modal_gpu_magic.wire.reducers import Bare, reducers
from modal_gpu_magic.wire.tensors import Device, is_sliver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OUT_OF_BAND_BYTES = 64 << 10
"""Buffers from this size on do not pass through the stream: a frame of the pickle format has as much."""

_BY_NAME = (type, types.FunctionType, types.ModuleType)
"""What is pickled by its name where it can be imported."""

_STATE = 2
"""Where the state is in what cloudpickle makes of a class or a function: attributes, and slots."""


def outermost(value: Any) -> Any:
    """What is dumped for a value that a name is bound to: large bytes go out of band, a sliver without its storage."""
    if type(value) is bytes and len(value) >= OUT_OF_BAND_BYTES:
        return Bare(value)
    return Bare(value, alone=True) if is_sliver(value) else value


class CellPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is published without types
    """Pickles values of a notebook.

    Args:
        file: anything with `write`.
        namespace: the notebook's globals. They are not pickled: what refers to them refers to those over there.
        keep: `keep(view, temporary)` takes a large buffer out of band; None leaves all of them in the stream.

    Attributes:
        session: the session that remote values must belong to; None: any.
        storages: torch storages in the stream so far, by identity.
        temporary: copies that were made to be pickled.
        modules: modules of the functions and classes that went by their names.
    """

    def __init__(
        self, file: Any, namespace: dict[str, Any], keep: Callable[[memoryview, bool], None] | None = None
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=None if keep is None else self._offer)
        self.globals_ref[id(namespace)] = namespace
        self.namespace = namespace
        self.session: str | None = None
        self.storages: dict[Any, Any] = {}
        self.temporary: list[Any] = []
        self.modules: set[str] = set()
        self._keep, self._reducers = keep, reducers()

    def reducer_override(self, obj: Any) -> Any:
        """How an object is pickled, for those that neither pickle nor cloudpickle does as a notebook needs it."""
        reducer = self._reducers.get(type(obj))
        reduced = NotImplemented if reducer is None else reducer(self, obj)
        if reduced is not NotImplemented:
            return reduced
        reduced = super().reducer_override(obj)
        if reduced is not NotImplemented:
            if isinstance(obj, types.FunctionType) and obj.__globals__ is self.namespace:
                self.strip(obj, reduced[_STATE][1])
            elif isinstance(obj, type) and len(reduced) > _STATE:
                reduced[_STATE][0].pop("__slotnames__", None)  # what pickling an instance leaves in its class
        elif isinstance(obj, _BY_NAME):
            self.modules.add(str(obj.__name__ if isinstance(obj, types.ModuleType) else obj.__module__))
        return reduced

    def reduce(self, obj: Any) -> Any:
        """How an object is pickled, as a tuple in any case."""
        reduced = self.reducer_override(obj)
        return obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if reduced is NotImplemented else reduced

    def strip(self, function: types.FunctionType, state: dict[str, Any]) -> None:  # noqa: ARG002 - for the subclasses
        """Leave out of a notebook function's state what travels by itself."""
        state["__globals__"] = {}

    def device(self, name: str) -> Any:
        """What stands in the stream for a torch device."""
        return name

    def _offer(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if self._keep is None or view.nbytes < OUT_OF_BAND_BYTES:
            return True  # in the stream
        self._keep(view, any(view.obj is copied for copied in self.temporary))
        return False


class HashPickler(CellPickler):
    """Writes what a fingerprint is made of, which is never loaded: no persistent ids, which cost a call an object."""

    def __init__(self, file: Any, namespace: dict[str, Any], keep: Callable[[memoryview, bool], None]) -> None:
        super().__init__(file, namespace, keep)
        self.memo = {id(namespace): (0, namespace)}

    def strip(self, function: types.FunctionType, state: dict[str, Any]) -> None:
        """Leave out the submodules that happen to be loaded now, too."""
        super().strip(function, state)
        state["_cloudpickle_submodules"] = []


class TransferPickler(CellPickler):
    """Writes what `wire.loading` reads.

    Args:
        roots: numbers, by identity, of the objects that can be written into in place over there. Each is in the
            stream as a persistent id, which has the object's content where it comes first: so who loads it can take
            the object that is there already, and everything that refers to it refers to that.

    Attributes:
        top: the value whose dump has begun.
        met: the devices that storages were on, other than the host.
        codes: the code of the notebook's functions in the stream.
    """

    def __init__(
        self,
        file: Any,
        namespace: dict[str, Any],
        keep: Callable[[memoryview, bool], None] | None = None,
        roots: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(file, namespace, keep)
        self.top: Any = None
        self.met: set[str] = set()
        self.codes: list[types.CodeType] = []
        self._devices: dict[str, Device] = {}
        self._marks: dict[int, Any] = {id(namespace): NAMESPACE, **(roots or {})}
        self._written: set[int] = set()

    def persistent_id(self, obj: Any) -> Any:
        """Name the namespace, a device, or a root. Called for every object, so it does next to nothing."""
        mark = self._marks.get(id(obj))
        return self._root(obj, mark) if type(mark) is int else mark

    def strip(self, function: types.FunctionType, state: dict[str, Any]) -> None:
        """Leave out what travels by itself, and take note of the code."""
        super().strip(function, state)
        self.codes.append(function.__code__)

    def device(self, name: str) -> Any:
        """A stand-in: who loads it decides where the storage goes."""
        if name == "cpu":
            return name
        self.met.add(name)
        device = self._devices.setdefault(name, Device(name))
        self._marks[id(device)] = name
        return device

    def _root(self, obj: Any, number: int) -> tuple[Any, ...]:
        if number in self._written:
            return number, type(obj)
        self._written.add(number)
        content = copy.copy(obj) if type(obj) in CONTAINERS else Bare(obj, alone=obj is self.top)
        return number, type(obj), content
