"""Fingerprints: what tells whether a value is what it was when both sides last had it alike.

A fingerprint depends on values, and on which mutable objects in them are one; not on the identity of equal strings.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.hashing import Hasher, HashingFile, OutOfTime, digest_of_atom
from modal_gpu_magic.wire.pickles.depth import deep
from modal_gpu_magic.wire.pickles.types.views import is_array
from modal_gpu_magic.wire.values.reasons import why_unpicklable

if TYPE_CHECKING:
    from collections.abc import Iterable

ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Immutable types that hold no objects."""

ATOM_BYTES = 64 << 10
"""Strings, bytes and numbers from this size on are hashed as buffers are: read once, and given up when time is up."""


@dataclass(frozen=True, slots=True)
class Print:
    """What some values look like to a pickle.

    Attributes:
        stream: digest of their content, and of what they share.
        objects: the objects in them that have an identity, in the order of the pickle.
        leaves: owners of large buffers, with the digest of their content.
    """

    stream: bytes
    objects: tuple[Any, ...] = ()
    leaves: tuple[tuple[Any, bytes], ...] = ()


def look(
    values: Iterable[Any], namespace: dict[str, Any], hasher: Hasher | None = None, *, graphs: bool = False
) -> Print | None:
    """Read values in one pickle. None: one of them cannot be pickled, or the hasher's time was up (`hasher.spent`).

    Args:
        values: what some names are bound to, in the order of the names.
        namespace: the notebook's globals; what a function refers to there is no part of it.
        hasher: shared by the calls for one transfer, so that a large buffer is read once.
        graphs: results of an autograd graph can be sent, without the graph.
    """
    several, hashed = tuple(values), hasher or Hasher()
    plain = _look_at_plain(several[0], hashed) if len(several) == 1 else None
    return plain or _look(several, namespace, hashed, graphs=graphs)


def _look_at_plain(value: Any, hasher: Hasher) -> Print | None:
    """What an atom, or a list or dict of atoms, looks like; None: it is another value, or the hasher's time is up.

    A pickler of ours takes 40 µs to be made, and asks of each item what it is.
    """
    kind = type(value)
    if kind in ATOMS:
        return Print(digest_of_atom(value)) if sys.getsizeof(value) < ATOM_BYTES else None
    if kind not in (list, dict) or not is_flat(value):
        return None
    file = HashingFile(hasher)
    pickler = pickle.Pickler(file, pickle.HIGHEST_PROTOCOL)
    pickler.fast = True  # without a memo: equal strings count alike, one object or two
    try:
        pickler.dump(value)
    except OutOfTime:
        return None
    return Print(file.digest(), (value,))


@deep
def _look(values: tuple[Any, ...], namespace: dict[str, Any], hasher: Hasher, *, graphs: bool) -> Print | None:
    from modal_gpu_magic.wire.pickles.pickling import HashPickler, outermost
    from modal_gpu_magic.wire.pickles.reducers import reducers

    if hasher.rules is None:
        hasher.rules = reducers()
    file = HashingFile(hasher)
    pickler = HashPickler(file, namespace, lambda view, temporary: hasher.digest(view, remember=not temporary))
    pickler.rules, pickler.sends_graphs = hasher.rules, graphs
    try:
        for value in values:
            pickler.dump(outermost(value))
        hasher.leaves.update({id(owner): (owner, digest) for owner, digest in pickler.leaves})
        objects = tuple(pickler.objects().values())
        hasher.arrays.update({id(value): value for value in objects if is_array(value)})
        return Print(file.digest(*pickler.digests, pickler.values_digest()), objects, tuple(pickler.leaves))
    except Exception:  # noqa: BLE001 - whatever a user's class raises when it is pickled; `why_not` says it
        return None
    finally:
        pickler.close()


def fingerprint(value: Any, namespace: dict[str, Any], hasher: Hasher | None = None) -> bytes | None:
    """16 bytes that depend on a value and on which mutable objects in it are one. The arguments are those of `look`.

    Returns:
        The fingerprint. None: the value cannot be pickled, or the hasher's time was up (`hasher.spent`).
    """
    found = look((value,), namespace, hasher)
    return None if found is None else found.stream


@deep
def why_not(value: Any, namespace: dict[str, Any]) -> str | None:
    """Why a value cannot be pickled: `it holds a lock (_thread.lock)`. None: it can."""
    from modal_gpu_magic.wire.pickles.pickling import HashPickler, outermost

    pickler = HashPickler(HashingFile(Hasher()), namespace, lambda _view, _temporary: b"")
    try:
        pickler.dump(outermost(value))
    except Exception as error:  # noqa: BLE001 - whatever a user's class raises when it is pickled
        return why_unpicklable(value, error)
    finally:
        pickler.close()
    return None


def is_flat(value: Any) -> bool:
    """Whether a built-in container holds nothing but atoms."""
    inner = value.values() if isinstance(value, dict) else ()
    return ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, inner))
