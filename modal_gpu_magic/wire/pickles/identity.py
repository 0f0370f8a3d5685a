"""Which object of one side corresponds to which object of the other: one table on each side of a session.

An object that has crossed has a token, a number that both sides know. A later transfer names the object by its token,
and the receiver writes the content into the object that it has, so that everything that refers to the object refers to
the current one (ARCHITECTURE.md, "Identity"). Tokens cost no traffic: pickler and unpickler number the objects of a
stream alike (protocol 5 memoizes in the order of the stream), so a token is the number of the transfer and the number
in its memo.
"""

from __future__ import annotations

import array
import collections
import enum
import io
import mmap
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.notebook_functions import Made
from modal_gpu_magic.wire.pickles.types.views import arrays_inside
from modal_gpu_magic.wire.values.attributes import attributes_getter
from modal_gpu_magic.wire.values.remote import RemoteValue
from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TRANSFER_SHIFT = 32
"""Bits of a token that number the object within its transfer."""

HELD_ARRAY, HELD_ARRAYS = 1 << 20, 64 << 20
"""The largest array that a table holds, and all of them together, in bytes."""

_HEAP_TYPE = 1 << 9
"""`Py_TPFLAGS_HEAPTYPE` in a type's `__flags__`: the type was made at run time, as every class statement does."""

MANY_OBJECTS = 10_000
"""Objects held strongly before those in cycles are looked for."""

_ONLY_HERE = 3
"""`sys.getrefcount` of an object that only the table refers to: the table, a loop's variable, the call's argument."""

_ALWAYS = frozenset(
    {
        *(list, dict, set, bytearray, object, array.array, io.BytesIO, io.StringIO),
        *(collections.deque, collections.OrderedDict, collections.defaultdict),
        *(types.CellType, types.SimpleNamespace),
    }
)
"""Built-in types whose objects have an identity that a program can see."""

_NEVER = frozenset({types.ModuleType, types.CodeType, types.MethodType, types.BuiltinFunctionType, RemoteValue})

_BY_CONTENT = frozenset({tuple, frozenset})
"""Immutable containers: worth a token if an item is more than an atom."""

_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type, pickle.PickleBuffer, memoryview, mmap.mmap}
)
"""Types of what has no identity in a tuple. A buffer is an argument of the function that makes its owner: to hold the
tuple of such arguments would keep the owner from being resized."""

_OF_LIBRARIES = {
    "numpy": frozenset(
        {
            *("ndarray", "memmap", "matrix", "MaskedArray", "recarray", "Generator", "RandomState"),
            *("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"),
        }
    ),
    "pandas": frozenset({"DataFrame", "Series"}),
    "polars": frozenset({"DataFrame", "Series"}),
    "pyarrow": frozenset[str](),
    "scipy": frozenset[str](),
    "tzlocal": frozenset[str](),
    "zoneinfo": frozenset[str](),
    "pathlib": frozenset[str](),
    "datetime": frozenset[str](),
    "decimal": frozenset[str](),
    "re": frozenset[str](),
    "weakref": frozenset[str](),
}
"""Packages whose objects are values, but for those of these types; what the types hold inside is theirs."""

_LAZY_PANDAS = ("pandas.api.typing", "pandas.core.groupby", "pandas.core.window", "pandas.core.resample")
"""Where pandas' objects come from that refer to a frame and compute later."""

_OURS = frozenset({"Bare", "Device", "InPlace", "Parts", "View"})
"""Types of ours, by name, whose objects stand for others in a pickle."""


def with_identity(memo: Iterable[tuple[int, Any]], less: Iterable[Any] = ()) -> dict[int, Any]:
    """The objects of a pickle's memo that have an identity, by their number.

    Instances' `__dict__` are left out: the other side has a copy of each, which only lives while the pickle is read.
    So are the arrays inside frames, which are not the user's.

    Args:
        memo: the number in the pickle and the object, of all objects.
        less: objects made to be pickled, or to be read.
    """
    found: dict[int, Any] = {}
    hidden = {id(value) for value in less}
    tables: list[Any] = []
    kind_of = _KINDS.get
    for number, value in memo:
        kind = kind_of(type(value)) or _kind_of(type(value))
        if kind.never:
            continue
        if kind.of_pandas:
            tables.append(value)
        if kind.always or (kind.look is not None and kind.look(value)):
            found[number] = value
            if kind.attributes is not None:
                hidden.add(id(kind.attributes(value)))
    hidden |= arrays_inside(tables)
    return {number: value for number, value in found.items() if id(value) not in hidden} if hidden else found


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is to be known of a type, once.

    Attributes:
        never: there is nothing to be known of its objects.
        always: its objects have an identity. look: tells of one object whether it has.
        attributes: gives an object's `__dict__`; None: there is none.
        of_pandas: the objects may be made of arrays that are no user's.
        is_weak: the objects can be referred to weakly.
        is_array: the type is numpy's array.
    """

    never: bool
    always: bool
    look: Callable[[Any], bool] | None
    attributes: Callable[[Any], Any] | None
    of_pandas: bool
    is_weak: bool
    is_array: bool


def _kind_of(kind: type) -> _Kind:
    verdict = _verdict(kind)
    of_pandas = package_of(kind) == "pandas"
    found = _Kind(
        never=verdict == "no" and not of_pandas,
        always=verdict == "yes",
        look={"look": _holds_more_than_atoms, "function": is_by_value}.get(verdict),
        attributes=attributes_getter(kind) if verdict in ("yes", "function") else None,
        of_pandas=of_pandas,
        is_weak=bool(kind.__weakrefoffset__),
        is_array=package_of(kind) == "numpy" and kind.__name__ == "ndarray",
    )
    _KINDS[kind] = found
    return found


def _holds_more_than_atoms(value: Any) -> bool:
    """Whether an item's identity may matter. Of what was made to be pickled, such as `__new__`'s class, none does."""
    return not _ATOMS.issuperset(map(type, value)) and not (type(value) is tuple and value[0] is Made)


def is_by_value(function: types.FunctionType) -> bool:
    """Whether a function travels by value: it is the notebook's, or was made by another function."""
    return function.__module__ in ("__main__", None) or "<" in function.__qualname__


def _verdict(kind: type) -> str:
    if kind is types.FunctionType:
        return "function"
    if kind in _BY_CONTENT:
        return "look"
    if kind in _ALWAYS:
        return "yes"
    if kind in _NEVER or issubclass(kind, type | enum.Enum) or _is_ours(kind):
        return "no"
    package = package_of(kind)
    if package == "pandas" and kind.__module__.startswith(_LAZY_PANDAS):
        return _by_flags(kind)
    if package in _OF_LIBRARIES:
        return "yes" if kind.__name__ in _OF_LIBRARIES[package] else "no"
    if package == "torch" and kind.__name__ in ("Tensor", "UntypedStorage", "Generator"):
        return "yes"
    return _by_flags(kind)


def _by_flags(kind: type) -> str:
    return "yes" if kind.__flags__ & _HEAP_TYPE or issubclass(kind, BaseException) else "no"


def _is_ours(kind: type) -> bool:
    return package_of(kind) == "modal_gpu_magic" and kind.__name__ in _OURS


_KINDS: dict[type, _Kind] = {}


class _Reference(weakref.ref[Any]):
    """A weak reference that knows which entries of the table end with its object."""

    __slots__ = ("key", "token")

    token: int
    key: int


TABLES: weakref.WeakSet[IdentityTable] = weakref.WeakSet()
"""The tables of this process."""


class IdentityTable:
    """The objects that both sides of a session have, by token.

    Objects that allow weak references are held weakly. The others are held until `prune` finds that nobody else holds
    them. Each side tells the other which tokens it gave up (`take_forgotten`), so a side never names an object that
    the other side lacks.

    Args:
        side: 0 in the kernel, 1 in the container: the two never make the same token.

    Attributes:
        token_of: tokens by the identity of living objects.
        digests: of large buffers' owners, by token: the content at the last transfer.
        stale: tokens of objects whose current content only the other side has.
        received: transfers that this side asked for and took in, by their first token; the other side does not know.
    """

    def __init__(self, side: int) -> None:
        self.side, self._transfers = side, 0
        TABLES.add(self)
        self.token_of: dict[int, int] = {}
        self.digests: dict[int, bytes] = {}
        self.stale: set[int] = set()
        self.received: list[int] = []
        self._weak: dict[int, _Reference] = {}
        self._strong: dict[int, Any] = {}
        self._arrays: set[int] = set()
        self._held_bytes = 0
        self._held: dict[int, int] = {}
        """Bytes of the arrays that are held, by token."""
        self._forgotten: list[int] = []
        self._many = MANY_OBJECTS

    def __len__(self) -> int:
        return len(self.token_of)

    def next_base(self) -> int:
        """The token of the first object of a new transfer."""
        self._transfers += 1
        return (2 * self._transfers + self.side) << _TRANSFER_SHIFT

    def find(self, token: int) -> Any:
        """The object of a token; None: this side does not have the object."""
        reference = self._weak.get(token)
        return self._strong.get(token) if reference is None else reference()

    def arrays(self) -> list[Any]:
        """All living numpy arrays."""
        found = [self.find(token) for token in self._arrays]
        return [array for array in found if array is not None]

    def has(self, token: int) -> bool:
        """Whether this side has the object of a token."""
        return token in self._strong or token in self._weak

    def token(self, value: Any) -> int:
        """The token of an object; 0: the object has none."""
        return self.token_of.get(id(value), 0)

    def bind(self, token: int, value: Any) -> None:
        """Let a token mean an object from now on. An object keeps the token that it has."""
        key = id(value)
        if key in self.token_of:
            return
        if token in self._weak or token in self._strong:
            self._release(token)
        kind = _KINDS.get(type(value)) or _kind_of(type(value))
        if kind.is_weak and not (kind.is_array and self._holds(token, value)):
            reference = _Reference(value, self._ended)
            reference.token, reference.key = token, key
            self._weak[token] = reference
        else:
            self._strong[token] = value
        self.token_of[key] = token
        if kind.is_array:
            self._arrays.add(token)

    def _holds(self, token: int, array: Any) -> bool:
        """Whether an array is held until `prune`, as lists are: numpy resizes none that is weakly referred to."""
        nbytes = int(array.nbytes)
        held = array.flags.owndata and nbytes <= HELD_ARRAY and self._held_bytes + nbytes <= HELD_ARRAYS
        if held:
            self._held[token] = nbytes
            self._held_bytes += nbytes
        return bool(held)

    def replace(self, token: int, value: Any) -> None:
        """Let a token mean another object, which took the place of the one before."""
        self._release(self.token(value))
        self.bind(token, value)

    def learn(self, base: int, objects: Mapping[int, Any]) -> None:
        """Give tokens to the objects of a transfer that begins at `base`, by their number; see `with_identity`."""
        for number, value in objects.items():
            self.bind(base + number, value)

    def forget(self, tokens: Iterable[int]) -> None:
        """The other side gave these objects up."""
        for token in tokens:
            self._release(token)

    def prune(self, find_alive: Callable[[], Mapping[int, Any]] | None = None) -> None:
        """Give up the objects that nobody but the table holds.

        Args:
            find_alive: finds all objects that this side's names reach, by identity. Asked now and then, when many
                objects have come: lists in a cycle hold each other.
        """
        given_up = True
        while given_up:
            held = list(self._strong.items())
            given_up = False
            while held:
                token, value = held.pop()
                if sys.getrefcount(value) <= _ONLY_HERE:
                    self._give_up(token)
                    given_up = True
                del value
        if find_alive is not None and len(self._strong) > self._many:
            alive = find_alive()
            for token in [token for token, value in self._strong.items() if id(value) not in alive]:
                self._give_up(token)
            self._many = 2 * len(self._strong) + MANY_OBJECTS

    def _give_up(self, token: int) -> None:
        self._release(token)
        self._forgotten.append(token)

    def forgotten(self) -> tuple[int, ...]:
        """Tokens that were given up and that the other side still has; less those that have come again meanwhile."""
        return tuple(token for token in self._forgotten if not self.has(token))

    def take_forgotten(self) -> tuple[int, ...]:
        """The same, when it is certain that the other side will know."""
        forgotten = self.forgotten()
        self._forgotten.clear()
        return forgotten

    def told(self, tokens: Iterable[int]) -> None:
        """The other side knows that these tokens were given up."""
        known = frozenset(tokens)
        if known:
            self._forgotten[:] = [token for token in self._forgotten if token not in known]

    def clear(self) -> None:
        """The other side is gone."""
        for each in (self.token_of, self.digests, self.stale, self._arrays, self._held, self._weak, self._strong):
            each.clear()
        self._forgotten.clear()
        self._held_bytes = 0
        self.received.clear()

    def _release(self, token: int) -> None:
        reference = self._weak.pop(token, None)
        key = reference.key if reference is not None else id(self._strong.pop(token, None))
        if self.token_of.get(key) == token:
            del self.token_of[key]
        self.digests.pop(token, None)
        self._arrays.discard(token)
        self._held_bytes -= self._held.pop(token, 0)
        self.stale.discard(token)

    def _ended(self, reference: weakref.ref[Any]) -> None:
        """An object died: its identity may become another object's."""
        if isinstance(reference, _Reference) and self._weak.get(reference.token) is reference:
            self._release(reference.token)
            self._forgotten.append(reference.token)
