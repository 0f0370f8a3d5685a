"""Fingerprints: digests that show whether a value has changed since both sides last had the same content.

A fingerprint depends on values and on the sharing of mutable objects in them; not on the identity of equal strings.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.hashing import Hasher, HashingFile, OutOfTime, digest_of_atom
from modal_gpu_magic.wire.pickles.depth import deep
from modal_gpu_magic.wire.pickles.types.array_kinds import is_array, is_plain_array
from modal_gpu_magic.wire.pickles.types.tensors import is_sliver
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.reasons import why_unpicklable
from modal_gpu_magic.wire.values.torch_facts import is_storage, storage_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modal_gpu_magic.wire.pickles.identity import IdentityTable

ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Immutable types whose values refer to no other objects."""

TREE = frozenset({list, dict, tuple})
"""Types of the trees whose pickles depend on their content alone, if no list or dict in them occurs twice."""

NUMBERS = "?biufc"
"""Kinds of numpy's types whose values are bytes alone: bool, integers, floats, complex numbers."""

ATOM_BYTES = 64 << 10
"""Strings, bytes and numbers of at least this size are hashed with the time limit of the hasher."""


@dataclass(frozen=True, slots=True)
class Print:
    """The fingerprint of some values, and the objects in the values.

    Attributes:
        stream: digest of the content and of the sharing.
        objects: the objects in the values that have an identity, in the order of the pickle.
        leaves: owners of large buffers, each with the digest of the buffer.
    """

    stream: bytes
    objects: tuple[Any, ...] = ()
    leaves: tuple[tuple[Any, bytes], ...] = ()


def look(
    values: Iterable[Any],
    namespace: dict[str, Any],
    hasher: Hasher | None = None,
    *,
    graphs: bool = False,
    table: IdentityTable | None = None,
) -> Print | None:
    """Fingerprint values in one pickle. None: a value cannot be pickled, or the time limit is reached (`hasher.spent`).

    Args:
        values: the values of some names, in the order of the names.
        namespace: the notebook's globals; the fingerprint of a function does not include its globals.
        hasher: one hasher for all calls of a transfer, so that a large buffer is read once.
        graphs: whether results of an autograd graph can be sent, without the graph.
        table: the objects that both sides have: a small view of a tensor's storage among them is fingerprinted with
            the storage.
    """
    several, hashed = tuple(values), hasher or Hasher()
    try:
        plain = _look_at_plain(several[0], hashed) if len(several) == 1 else None
    except BaseException as error:  # noqa: BLE001 - of a metaclass whose `__hash__` fails
        pass_on(error)
        plain = None
    return plain or _look(several, namespace, hashed, table, graphs=graphs)


def _look_at_plain(value: Any, hasher: Hasher) -> Print | None:
    """Fingerprint an atom, a tree of lists, dicts and tuples, or a small array of numbers.

    This path is fast: creating a `HashPickler` takes 40 µs, and a `HashPickler` calls Python code for each item.

    Returns:
        The fingerprint. None: another kind of value, or the time limit is reached.
    """
    kind = type(value)
    if kind in ATOMS:
        return Print(digest_of_atom(value)) if sys.getsizeof(value) < ATOM_BYTES else None
    if kind in TREE:
        return _look_at_tree(value, hasher)
    return _look_at_array(value, hasher) if is_plain_array(value) else None


def _look_at_tree(value: Any, hasher: Hasher) -> Print | None:
    file = HashingFile(hasher)
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.fast = True  # no memo, so that the identity of equal strings does not matter
    try:
        containers = _tree(value)
        if containers is None:
            return None
        pickler.dump(value)
    except (OutOfTime, RuntimeError):  # too deep, or a thread of the user has changed a dict meanwhile
        return None
    return Print(file.digest(), tuple(containers))


def _tree(value: Any) -> list[Any] | None:
    """Return the lists and dicts in a tree of lists, dicts and tuples, whose tuples hold atoms. None: another kind.

    A list or dict that occurs twice is none: the fingerprint depends on the sharing of mutable objects.
    """
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [value]
    for each in waiting:
        kind = type(each)
        if kind in ATOMS:
            continue
        if kind is tuple and ATOMS.issuperset(map(type, each)):
            continue
        if kind not in (list, dict) or id(each) in seen:
            return None
        seen.add(id(each))
        found.append(each)
        if kind is list:
            inner: Iterable[Any] = each
        elif ATOMS.issuperset(map(type, each)):
            inner = each.values()
        else:
            return None
        if not ATOMS.issuperset(map(type, inner)):
            waiting += inner
    return found


def _look_at_array(array: Any, hasher: Hasher) -> Print | None:
    dtype = array.dtype
    if array.nbytes >= ATOM_BYTES or dtype.kind not in NUMBERS or dtype.metadata is not None:
        return None
    hasher.arrays[id(array)] = array
    content = dtype.str, array.shape, array.flags.writeable, array.tobytes()
    return Print(digest_of_atom(content), (array,))


@deep
def _look(
    values: tuple[Any, ...], namespace: dict[str, Any], hasher: Hasher, table: IdentityTable | None, *, graphs: bool
) -> Print | None:
    from modal_gpu_magic.wire.pickles.pickling import HashPickler
    from modal_gpu_magic.wire.pickles.reducers import reducers

    if hasher.rules is None:
        hasher.rules = reducers()
    file = HashingFile(hasher)
    pickler = HashPickler(file, namespace, lambda view, temporary: hasher.digest(view, remember=not temporary))
    pickler.rules, pickler.sends_graphs = hasher.rules, graphs
    if table is not None:
        pickler.both_have = table.token
    try:
        for value in values:
            pickler.dump(_outermost(value, table))
        hasher.leaves.update({id(owner): (owner, digest) for owner, digest in pickler.leaves})
        hasher.modules |= pickler.modules
        objects = tuple(pickler.objects().values())
        hasher.arrays.update({id(value): value for value in objects if is_array(value)})
        hasher.storages.update({id(value): value for value in objects if is_storage(value)})
        return Print(file.digest(*pickler.digests, pickler.values_digest()), objects, tuple(pickler.leaves))
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is pickled; `why_not` reports it
        pass_on(error)
        return None
    finally:
        pickler.close()


def _outermost(value: Any, table: IdentityTable | None) -> Any:
    """Return the object to dump for a value: the value itself, where both sides have the whole storage of a view."""
    from modal_gpu_magic.wire.pickles.pickling import outermost

    shares_storage = table is not None and is_sliver(value) and table.token(storage_of(value))
    return value if shares_storage else outermost(value)


def fingerprint(value: Any, namespace: dict[str, Any], hasher: Hasher | None = None) -> bytes | None:
    """Return a value's fingerprint of 16 bytes. The arguments are those of `look`.

    Returns:
        The fingerprint. None: the value cannot be pickled, or the time limit is reached (`hasher.spent`).
    """
    found = look((value,), namespace, hasher)
    return None if found is None else found.stream


@deep
def why_not(value: Any, namespace: dict[str, Any]) -> str | None:
    """Return why a value cannot be sent as a whole: `it holds a lock (_thread.lock)`. None: the value can be sent."""
    from modal_gpu_magic.wire.pickles.pickling import HashPickler, outermost

    pickler = HashPickler(HashingFile(Hasher()), namespace, lambda _view, _temporary: b"")
    pickler.both_have = lambda _: False
    try:
        pickler.dump(outermost(value))
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is pickled
        pass_on(error)
        return why_unpicklable(value, error)
    finally:
        pickler.close()
    return None


def is_flat(value: Any) -> bool:
    """Whether a built-in container has only atoms."""
    inner = value.values() if is_a(value, dict) else ()
    return ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, inner))
