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
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.views import arrays_inside, is_array
from modal_gpu_magic.wire.remote import RemoteValue
from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TRANSFER_SHIFT = 32
"""Bits of a token that number the object within its transfer."""

_HEAP_TYPE = 1 << 9
"""`Py_TPFLAGS_HEAPTYPE` in a type's `__flags__`: the type was made at run time, as every class statement does."""

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

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})

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


def has_identity(value: Any) -> bool:
    """Whether a program can tell an object from an equal one, so that a transfer must keep the two apart.

    Classes are left out: cloudpickle keeps their identity. So are functions and modules that are found by name.
    """
    kind = type(value)
    verdict = _VERDICTS.get(kind)
    if verdict is None:
        verdict = _VERDICTS[kind] = _verdict(kind)
    if verdict == "look":
        return not _ATOMS.issuperset(map(type, value))
    return is_by_value(value) if verdict == "function" else verdict == "yes"


def with_identity(memo: Mapping[int, Any], less: Iterable[Any] = ()) -> dict[int, Any]:
    """The objects of a pickle's memo that have an identity, by their number.

    Instances' `__dict__` are left out: the other side has a copy of each, which only lives while the pickle is read.
    So are the arrays inside frames, which are not the user's.

    Args:
        memo: objects by their number in the pickle.
        less: objects made to be pickled, or to be read.
    """
    found = {number: value for number, value in memo.items() if has_identity(value)}
    hidden = {id(value) for value in less} | arrays_inside(memo.values())
    for value in found.values():
        attributes = attributes_of(value)
        if attributes is not None:
            hidden.add(id(attributes))
    return {number: value for number, value in found.items() if id(value) not in hidden}


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


_VERDICTS: dict[type, str] = {}


class _Reference(weakref.ref[Any]):
    """A weak reference that knows which entries of the table end with its object."""

    __slots__ = ("key", "token")

    token: int
    key: int


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
    """

    def __init__(self, side: int) -> None:
        self.side, self._transfers = side, 0
        self.token_of: dict[int, int] = {}
        self.digests: dict[int, bytes] = {}
        self.stale: set[int] = set()
        self._weak: dict[int, _Reference] = {}
        self._strong: dict[int, Any] = {}
        self._arrays: set[int] = set()
        self._forgotten: list[int] = []

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
        if id(value) in self.token_of or self.find(token) is value:
            return
        self._release(token)
        try:
            reference = _Reference(value, self._ended)
        except TypeError:  # lists, dicts, tuples, closure cells
            self._strong[token] = value
        else:
            reference.token, reference.key = token, id(value)
            self._weak[token] = reference
        self.token_of[id(value)] = token
        if is_array(value):
            self._arrays.add(token)

    def replace(self, token: int, value: Any) -> None:
        """Let a token mean another object, which took the place of the one before."""
        self._release(self.token(value))
        self.bind(token, value)

    def learn(self, base: int, memo: Mapping[int, Any]) -> None:
        """Give tokens to the objects of a transfer that begins at `base`: those of `memo` that have an identity."""
        for number, value in memo.items():
            if has_identity(value) and id(value) not in self.token_of:
                self.bind(base + number, value)

    def forget(self, tokens: Iterable[int]) -> None:
        """The other side gave these objects up."""
        for token in tokens:
            self._release(token)

    def prune(self) -> None:
        """Give up the objects that nobody but the table holds."""
        given_up = True
        while given_up:
            held = list(self._strong.items())
            given_up = False
            while held:
                token, value = held.pop()
                if sys.getrefcount(value) <= _ONLY_HERE:
                    self._release(token)
                    self._forgotten.append(token)
                    given_up = True
                del value

    def keep_only(self, alive: Mapping[int, Any]) -> None:
        """Give up the objects whose identity is not in `alive`: such as lists in a cycle that nobody refers to."""
        gone = [token for token, value in self._strong.items() if id(value) not in alive]
        self.forget(gone)
        self._forgotten += gone

    def take_forgotten(self) -> tuple[int, ...]:
        """Tokens given up since the last call, for the other side; less those that have come again meanwhile."""
        forgotten, self._forgotten = self._forgotten, []
        return tuple(token for token in forgotten if not self.has(token))

    def clear(self) -> None:
        """The other side is gone."""
        for each in (self.token_of, self.digests, self.stale, self._arrays, self._weak, self._strong, self._forgotten):
            each.clear()

    def _release(self, token: int) -> None:
        reference = self._weak.pop(token, None)
        key = reference.key if reference is not None else id(self._strong.pop(token, None))
        if self.token_of.get(key) == token:
            del self.token_of[key]
        self.digests.pop(token, None)
        self._arrays.discard(token)
        self.stale.discard(token)

    def _ended(self, reference: weakref.ref[Any]) -> None:
        """An object died: its identity may become another object's."""
        if isinstance(reference, _Reference) and self._weak.get(reference.token) is reference:
            self._release(reference.token)
            self._forgotten.append(reference.token)
