"""The identity table of each side: which object of the kernel corresponds to which object of the container.

A transferred object has a token, a number that both sides know. A later transfer names the object by the token, and
the receiver writes the new content into its own object, so that all references see the change (ARCHITECTURE.md,
"Identity"). Tokens cost no traffic: pickler and unpickler number the objects of a stream in the same way (protocol 5
memoizes in the order of the stream), so a token consists of the transfer's number and the object's number in the memo.
"""

from __future__ import annotations

import array
import collections
import enum
import functools
import io
import mmap
import operator
import pickle
import sys
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.array_kinds import is_array_kind
from modal_gpu_magic.wire.pickles.types.iterators import ITERATORS
from modal_gpu_magic.wire.pickles.types.mapping_views import MAPPING_VIEWS
from modal_gpu_magic.wire.pickles.types.members import is_by_statement
from modal_gpu_magic.wire.pickles.types.notebook_functions import Made
from modal_gpu_magic.wire.pickles.types.views import parts_inside
from modal_gpu_magic.wire.values.attributes import attributes_getter
from modal_gpu_magic.wire.values.kinds import module_of
from modal_gpu_magic.wire.values.remote import RemoteValue
from modal_gpu_magic.wire.values.torch_facts import package_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TRANSFER_SHIFT = 32
"""Bits of a token that number the object within its transfer."""

HELD_ARRAY, HELD_ARRAYS = 1 << 20, 64 << 20
"""The largest array that a table holds, and all of them together, in bytes."""

MANY_OBJECTS = 10_000
"""Number of strongly held objects above which `prune` searches for unreachable cycles."""

_ONLY_HERE = 3
"""`sys.getrefcount` of an object that only the table refers to: table, loop variable, argument of the call."""

_ALWAYS = frozenset(
    {
        *(list, dict, set, bytearray, object, array.array, io.BytesIO, io.StringIO),
        *(collections.deque, collections.OrderedDict, collections.defaultdict),
        *(types.CellType, types.SimpleNamespace, functools.partial, type(functools.lru_cache(len))),
        *(operator.attrgetter, operator.itemgetter, operator.methodcaller, memoryview),
        *(*MAPPING_VIEWS, *ITERATORS),
    }
)
"""Built-in types whose objects have an identity that a program can observe."""

_NEVER = frozenset({types.ModuleType, types.CodeType, types.MethodType, types.BuiltinFunctionType, RemoteValue})

_BY_CONTENT = frozenset({tuple, frozenset})
"""Immutable containers: an object gets a token if at least one item is no atom."""

_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type, pickle.PickleBuffer, memoryview, mmap.mmap}
)
"""Types of what has no identity in a tuple. A buffer is an argument of the function that makes its owner: to hold the
tuple of such arguments would keep the owner from being resized."""

_OF_LIBRARIES = {
    "numpy": frozenset(
        {
            *("ndarray", "memmap", "matrix", "MaskedArray", "mvoid", "recarray", "chararray"),
            *("Generator", "RandomState"),
            *("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64", "poly1d"),
        }
    ),
    "pandas": frozenset({"DataFrame", "Series"}),
    "polars": frozenset({"DataFrame", "Series"}),
    "pyarrow": frozenset[str](),
    "tzlocal": frozenset[str](),
    "zoneinfo": frozenset[str](),
    "pathlib": frozenset[str](),
    "datetime": frozenset[str](),
    "decimal": frozenset[str](),
    "re": frozenset[str](),
    "weakref": frozenset[str](),
}
"""Packages whose objects have no identity, except objects of the listed types."""

_OF_PANDAS = frozenset({"ExtensionArray", "Index"})
"""Base classes of pandas' columns and indexes. One that is part of a frame or of another one has no identity."""

_LAZY_PANDAS = ("pandas.api.typing", "pandas.core.groupby", "pandas.core.window", "pandas.core.resample")
"""Modules of pandas' lazy objects, which refer to a frame and compute later."""

_OURS = frozenset({"Bare", "Device", "InPlace", "IndexedView", "Parts", "View", "ViewOfKind"})
"""Names of this package's types whose objects represent other objects in a pickle."""


def with_identity(memo: Iterable[tuple[int, Any]], less: Iterable[Any] = ()) -> dict[int, Any]:
    """Return the objects of a pickle's memo that have an identity, by their number.

    The result excludes `__dict__` of instances, which on the receiver's side is a copy that exists only while the
    pickle is read, and the arrays, indexes and blocks inside data frames, which belong to the frame.

    Args:
        memo: pairs of number and object, for all objects of the pickle.
        less: temporary objects to exclude.
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
    hidden |= parts_inside(tables)
    return {number: value for number, value in found.items() if id(value) not in hidden} if hidden else found


@dataclass(frozen=True, slots=True)
class _Kind:
    """Facts about a type, computed once.

    Attributes:
        never: no object of the type has an identity.
        always: every object of the type has an identity.
        look: returns whether an object has an identity; None: no check is needed.
        attributes: returns an object's `__dict__`; None: the objects have none.
        of_pandas: the type belongs to pandas, so that its objects may contain arrays of their own.
        is_weak: the objects support weak references.
        is_array: the objects are arrays that are sent by their memory.
        is_storage: the type is torch's `UntypedStorage`.
    """

    never: bool
    always: bool
    look: Callable[[Any], bool] | None
    attributes: Callable[[Any], Any] | None
    of_pandas: bool
    is_weak: bool
    is_array: bool
    is_storage: bool


def has_identity(kind: type) -> bool:
    """Whether objects of a type, or some of them, have an identity."""
    found = _KINDS.get(kind) or _kind_of(kind)
    return found.always or found.look is not None


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
        is_array=is_array_kind(kind),
        is_storage=package_of(kind) == "torch" and kind.__name__ == "UntypedStorage",
    )
    _KINDS[kind] = found
    return found


def _holds_more_than_atoms(value: Any) -> bool:
    """Whether an item of a tuple or frozenset may have an identity. Tuples made by a reducer do not count."""
    return not _ATOMS.issuperset(map(type, value)) and not (type(value) is tuple and value[0] is Made)


def is_by_value(function: types.FunctionType) -> bool:
    """Whether a function is pickled by value: it belongs to the notebook, or another function created it."""
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
    if package == "pandas" and _is_lazy_or_column(kind):
        return _by_flags(kind)
    if package in _OF_LIBRARIES:
        return "yes" if kind.__name__ in _OF_LIBRARIES[package] else "no"
    if package == "torch" and kind.__name__ in ("Tensor", "UntypedStorage", "Generator"):
        return "yes"
    return _by_flags(kind)


def _is_lazy_or_column(kind: type) -> bool:
    return module_of(kind).startswith(_LAZY_PANDAS) or any(base.__name__ in _OF_PANDAS for base in kind.__mro__)


def _by_flags(kind: type) -> str:
    return "yes" if is_by_statement(kind) or issubclass(kind, BaseException) else "no"


def _is_ours(kind: type) -> bool:
    return package_of(kind) == "modal_gpu_magic" and kind.__name__ in _OURS


_KINDS: dict[type, _Kind] = {}


class _Reference(weakref.ref[Any]):
    """A weak reference with the table entries to delete when its object dies.

    Attributes:
        token: token of the object.
        key: `id` of the object.
    """

    __slots__ = ("key", "token")

    token: int
    key: int


TABLES: weakref.WeakSet[IdentityTable] = weakref.WeakSet()
"""All identity tables of this process."""


def first_base(transfers: int, side: int = 1) -> int:
    """Return the token of the first object of a side's transfer, by the transfer's number."""
    return (2 * transfers + side) << _TRANSFER_SHIFT


def base_of(token: int) -> int:
    """Return the token of the first object of a token's transfer."""
    return token >> _TRANSFER_SHIFT << _TRANSFER_SHIFT


class IdentityTable:
    """The objects that both sides of a session have, by token.

    The table has weak references to objects that allow them. It holds other objects strongly until `prune` finds that
    nothing else refers to them. Each side sends the tokens that it released (`take_forgotten`), so that no side names
    an object that the other side lacks.

    Args:
        side: 0 in the kernel, 1 in the container, so that the two sides never create the same token.

    Attributes:
        token_of: tokens by `id` of the object.
        digests: by token of a large buffer's owner, the digest of the buffer at the last transfer.
        stale: tokens of objects whose current content is on the other side only.
        received: fetched transfers that this side has loaded, by their first token; not yet confirmed.
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
        self._storages: set[int] = set()
        self._held_bytes = 0
        self._held: dict[int, int] = {}
        """Bytes of the arrays that are held, by token."""
        self._forgotten: list[int] = []
        self._many = MANY_OBJECTS

    def __len__(self) -> int:
        return len(self.token_of)

    def next_base(self) -> int:
        """Return the token of the first object of a new transfer."""
        self._transfers += 1
        return first_base(self._transfers, self.side)

    @property
    def transfers(self) -> int:
        """Number of the transfers that this side has begun."""
        return self._transfers

    def resume(self, transfers: int, forgotten: Iterable[int]) -> None:
        """Continue as the side that has ended: with its number of transfers, and the tokens to report as released."""
        self._transfers = transfers
        self._forgotten += forgotten

    def find(self, token: int) -> Any:
        """Return the object of a token; None: this side does not have the object."""
        reference = self._weak.get(token)
        return self._strong.get(token) if reference is None else reference()

    def arrays(self) -> list[Any]:
        """Return all numpy arrays in the table."""
        return self._of(self._arrays)

    def storages(self) -> list[Any]:
        """Return all torch storages in the table."""
        return self._of(self._storages)

    def _of(self, tokens: Iterable[int]) -> list[Any]:
        found = map(self.find, tuple(tokens))  # an object may end meanwhile, and its token with it
        return [value for value in found if value is not None]

    def has(self, token: int) -> bool:
        """Whether this side has the object of a token."""
        return token in self._strong or token in self._weak

    def token(self, value: Any) -> int:
        """Return the token of an object; 0: the object has none."""
        return self.token_of.get(id(value), 0)

    def bind(self, token: int, value: Any) -> None:
        """Assign a token to an object. An object that has a token keeps its token."""
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
        if kind.is_storage:
            self._storages.add(token)

    def _holds(self, token: int, array: Any) -> bool:
        """Whether an array is held until `prune`, as lists are: numpy resizes none that is weakly referred to."""
        nbytes = int(array.nbytes)
        held = array.flags.owndata and nbytes <= HELD_ARRAY and self._held_bytes + nbytes <= HELD_ARRAYS
        if held:
            self._held[token] = nbytes
            self._held_bytes += nbytes
        return bool(held)

    def replace(self, token: int, value: Any) -> None:
        """Assign a token to another object, which has replaced the previous one."""
        self._release(self.token(value))
        self.bind(token, value)

    def learn(self, base: int, objects: Mapping[int, Any]) -> None:
        """Give tokens to the objects of a transfer.

        Args:
            base: token of the transfer's first object.
            objects: the objects by number; see `with_identity`.
        """
        for number, value in objects.items():
            self.bind(base + number, value)

    def forget(self, tokens: Iterable[int]) -> None:
        """Release the objects that the other side has released."""
        for token in tokens:
            self._release(token)

    def lack(self, tokens: Iterable[int]) -> None:
        """Report tokens that the other side has given to objects which this side could not make."""
        self._forgotten += tokens

    def release_arrays(self, values: Iterable[Any]) -> frozenset[int]:
        """Give up arrays that a cell is about to resize: numpy resizes none that anything else refers to.

        Args:
            values: values of names in the cell's text; others than numpy arrays are left as they are.

        Returns:
            The `id`s of the arrays.
        """
        found = [value for value in values if getattr(_KINDS.get(type(value)), "is_array", False)]
        for token in filter(None, map(self.token, found)):
            self._give_up(token)
        return frozenset(map(id, found))

    def prune(self, find_alive: Callable[[], Mapping[int, Any]] | None = None) -> None:
        """Release the objects that only the table refers to.

        Args:
            find_alive: returns all objects that this side's names reach, by `id`. Called only after the number of
                objects has doubled, to find cycles such as lists that contain each other.
        """
        released = True
        while released:
            held = list(self._strong.items())
            released = False
            while held:
                token, value = held.pop()
                if sys.getrefcount(value) <= _ONLY_HERE:
                    self._give_up(token)
                    released = True
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
        """Return released tokens that the other side still has, without tokens that were assigned again since."""
        return tuple(token for token in self._forgotten if not self.has(token))

    def take_forgotten(self) -> tuple[int, ...]:
        """Return the tokens of `forgotten`, and clear the list: the other side gets the tokens for certain."""
        forgotten = self.forgotten()
        self._forgotten.clear()
        return forgotten

    def confirm_released(self, tokens: Iterable[int]) -> None:
        """Record that the other side knows that these tokens were released."""
        known = frozenset(tokens)
        if known:
            self._forgotten[:] = [token for token in self._forgotten if token not in known]

    def clear(self) -> None:
        """Delete all entries, because the other side no longer exists."""
        for each in (self.token_of, self.digests, self.stale, self._held, self._weak, self._strong):
            each.clear()
        self._arrays.clear()
        self._storages.clear()
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
        self._storages.discard(token)
        self._held_bytes -= self._held.pop(token, 0)
        self.stale.discard(token)

    def _ended(self, reference: weakref.ref[Any]) -> None:
        """Delete the entries of an object that died, because another object may get the same `id`."""
        if isinstance(reference, _Reference) and self._weak.get(reference.token) is reference:
            self._release(reference.token)
            self._forgotten.append(reference.token)
