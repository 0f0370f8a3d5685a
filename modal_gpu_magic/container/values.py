"""The container's side of a session's variables: what arrives before a cell, what goes home after it, what stays."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container import files
from modal_gpu_magic.wire.events import FILES, LAST_RESULTS, RESULT, Request, Stay, Transfer
from modal_gpu_magic.wire.hashing import Hasher
from modal_gpu_magic.wire.reach import reach
from modal_gpu_magic.wire.size import nbytes_of, size_text
from modal_gpu_magic.wire.summary import bundle, summary
from modal_gpu_magic.wire.transfer import fingerprint, pack, unpack, why_not

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.wire.buffers import Store

CHECK_SECONDS = 0.2
"""Time to look for values changed in place after a cell; a long cell may take a twentieth of its own time instead."""
CHECK_SHARE = 0.05
SURE_BYTES = 64_000_000
"""Values up to this size are looked at in any case."""
UNCHECKED = "it may have changed, and is too large to compare"
HASH_BYTES_PER_SECOND = 5e9
"""A cautious estimate (measured: xxh3 hashes 31 GB/s, first touch of pages 9.9 GB/s)."""


@dataclass(frozen=True, slots=True)
class Before:
    """The namespace as it was before the cell: identities of all names, and which may be changed in place."""

    identities: dict[str, int]
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaving:
    """What goes home, and what does not with the reason."""

    values: Transfer
    stays: tuple[Stay, ...]
    kept: frozenset[str]
    gone: tuple[str, ...]
    looks: dict[str, tuple[str, str]]
    submodules: tuple[str, ...]

    def without(self, lost: tuple[Stay, ...]) -> Leaving:
        """The same with values that ended with their rank: the notebook is told of each, and has no older one of it."""
        names = {stay.name for stay in lost}
        stays = tuple(stay for stay in self.stays if stay.name not in names)
        return replace(self, stays=(*stays, *lost), gone=tuple(name for name in self.gone if name not in names))


@dataclass(slots=True)
class _Chosen:
    values: dict[str, Any]
    stays: list[Stay]


class Belongings:
    """The session's namespace with what the notebook is known to have of it."""

    def __init__(self, namespace: dict[str, Any], hidden: Iterable[str]) -> None:
        self.namespace, self.hidden = namespace, frozenset(hidden)
        self.prints: dict[str, bytes] = {}
        self.root = Path.cwd()
        """Where the session began: a cell may change the working directory."""
        self.watch = files.Watch(self.root)

    @property
    def names(self) -> tuple[str, ...]:
        """User names, less IPython's own."""
        return tuple(n for n in self.namespace if n not in self.hidden and not _is_history(n))

    def arrive(self, request: Request, store: Store, *, restore_devices: bool = True) -> dict[str, str]:
        """Take in what the notebook sent; returns the names that could not be made here, with the reason."""
        hasher = _hasher(store)
        for name in request.drops:
            self.namespace.pop(name, None)
            self.prints.pop(name, None)
        arrived = unpack(request.values, self.namespace, store, hasher, restore_devices=restore_devices)
        came = arrived.values.pop(FILES, {})
        files.write(came, self.root)
        self.watch.note(came)
        self.namespace.update(arrived.values)
        for name, value in arrived.values.items():
            if name in LAST_RESULTS:
                continue
            mark = fingerprint(value, self.namespace, hasher)
            if mark is not None:
                self.prints[name] = mark
        return arrived.failed

    def before(self, request: Request) -> Before:
        """Look at the namespace just before user code begins."""
        reached = reach(request.reads, self.namespace) if request.reads else set()
        return Before(
            {name: id(self.namespace[name]) for name in self.names}, tuple(sorted(reached & self.prints.keys()))
        )

    def leave(self, request: Request, before: Before, result: tuple[Any, ...], seconds: float, store: Store) -> Leaving:
        """Choose what goes home: names bound or changed that pickle and together fit; the biggest stay first."""
        hasher = _hasher(store)
        bound = self._bound(request, before)
        changed, unchecked = self._changed_in_place(request, before, bound, seconds, hasher)
        candidates = {name: self.namespace[name] for name in (*bound, *changed)}
        if result:
            candidates[RESULT] = result[0]
        chosen = self._choose(candidates, request, hasher)
        chosen.stays += [self._stay(name, self.namespace[name], UNCHECKED) for name in unchecked]
        for stay in chosen.stays:
            self.prints.pop(stay.name, None)
        transfer = pack(chosen.values, self.namespace, store, hasher) if chosen.values else Transfer()
        gone = tuple(n for n in {*before.identities, *request.deletes} if n not in self.namespace)
        for name in gone:
            self.prints.pop(name, None)
        looks = {
            name: (type(value).__name__, summary(value)) for name, value in chosen.values.items() if _may_lack(value)
        }
        submodules = _submodules(chosen.values.values(), request.source)
        return Leaving(transfer, tuple(chosen.stays), frozenset(changed), gone, looks, submodules)

    def take(self, names: Iterable[str], store: Store) -> Transfer:
        """Values that stayed, asked for by name."""
        return pack({name: self.namespace[name] for name in names}, self.namespace, store, _hasher(store))

    def _bound(self, request: Request, before: Before) -> tuple[str, ...]:
        """Names the cell's text binds, and names that are new or another object now (exec, %run, star imports)."""
        now = self.names
        moved = {n for n in now if before.identities.get(n) != id(self.namespace[n])}
        return tuple(n for n in now if n in moved or n in request.binds)

    def _changed_in_place(
        self, request: Request, before: Before, bound: tuple[str, ...], seconds: float, hasher: Hasher
    ) -> tuple[list[str], list[str]]:
        """Names that are the same object with another content, and those too large to tell within the time."""
        deadline = time.monotonic() + max(CHECK_SECONDS, seconds * CHECK_SHARE)
        changed: list[str] = []
        unchecked: list[str] = []
        here = [n for n in before.candidates if n in self.namespace and n not in bound]
        for name in sorted(here, key=lambda n: nbytes_of(self.namespace[n])):
            value = self.namespace[name]
            size = nbytes_of(value)
            if size > SURE_BYTES and time.monotonic() + size / HASH_BYTES_PER_SECOND > deadline:
                if name in request.mutates:
                    unchecked.append(name)
                continue
            if fingerprint(value, self.namespace, hasher) != self.prints[name]:
                changed.append(name)
        return changed, unchecked

    def _choose(self, candidates: Mapping[str, Any], request: Request, hasher: Hasher) -> _Chosen:
        chosen = _Chosen({}, [])
        left = request.fetch_bytes
        for name in sorted(candidates, key=lambda n: (n not in request.fetch_names, nbytes_of(candidates[n]))):
            value = candidates[name]
            size = 0 if isinstance(value, ModuleType) else nbytes_of(value)  # a module travels by its name
            asked = name in request.fetch_names
            if size > left and not asked:
                why = f"{size_text(size)} does not fit --fetch {size_text(request.fetch_bytes).replace(' ', '')}"
                chosen.stays.append(self._stay(name, value, why))
                continue
            mark = fingerprint(value, self.namespace, hasher)
            if mark is None:
                chosen.stays.append(self._stay(name, value, f"it does not pickle: {why_not(value, self.namespace)}"))
                continue
            chosen.values[name] = value
            left -= 0 if asked else size
            if name != RESULT:
                self.prints[name] = mark
        return chosen

    @staticmethod
    def _stay(name: str, value: Any, why: str) -> Stay:
        return Stay(name, type(value).__name__, summary(value), why, bundle(value))


def _may_lack(value: Any) -> bool:
    """Whether a notebook may be unable to make such a value, for want of a package."""
    return isinstance(value, ModuleType) or type(value).__module__ not in ("builtins", "__main__")


def _submodules(values: Iterable[Any], source: str) -> tuple[str, ...]:
    """Loaded modules below those that go home, as far as the cell's text names them with dots."""
    heads = [value.__name__ + "." for value in values if isinstance(value, ModuleType)]
    named = {match[0] for match in re.finditer(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", source)} if heads else set()
    return tuple(name for name in sorted(named) if name in sys.modules and name.startswith(tuple(heads)))


def _hasher(store: Store) -> Hasher:
    return Hasher(unwritten=getattr(store, "unwritten", None))


def _is_history(name: str) -> bool:
    """IPython's inputs and outputs (`_i`, `_i3`, `_3`): they come later than the shell, so `hidden` lacks them."""
    return name in ("_i", "_ii", "_iii") or (name.startswith("_") and name.lstrip("_i").isdigit())
