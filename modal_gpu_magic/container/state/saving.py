"""Save a session's namespace to the Volume, so that the session's next container goes on with it.

Names that share objects are one group with one pickle. A group whose fingerprint is unchanged is not pickled again, and
a buffer or a pickle that the Volume has is not written again. The manifest is replaced last, so a save that is
interrupted, or that fails, leaves the state of the save before.
"""

from __future__ import annotations

import io
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from modal_gpu_magic._version import __version__
from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.hashing import CHUNK_BYTES, Hasher, new_hash
from modal_gpu_magic.wire.buffers.stores import write_file
from modal_gpu_magic.wire.inspection.graph import Graph
from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.messages.events import LAST_RESULTS, is_numbered, token_name
from modal_gpu_magic.wire.messages.seal import sealed
from modal_gpu_magic.wire.pickles.fingerprints import Print, look, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.saved.manifest import (
    GroupContent,
    Handover,
    Manifest,
    SavedFile,
    SavedGroup,
    SyncFacts,
    written,
)
from modal_gpu_magic.wire.saved.places import BUFFERS, GROUPS, MANIFEST
from modal_gpu_magic.wire.transfer import prepare
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import stopping
from modal_gpu_magic.wire.values.remote import held_in
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from modal_gpu_magic.container.state.namespace import NamespaceSync

EARLY_BYTES = 1_000_000
"""A smaller group is restored before the first cell, whether the cell reads it or not."""
FILES_BYTES = 1_000_000_000
"""Bytes of the working directory's files that are saved."""
STALE_SECONDS = 600.0
"""Age in seconds of an unfinished file that belongs to a container that died while it saved."""
OWNER = "owner"
"""The file with the name of the container that may write the state."""

Check: TypeAlias = "Callable[[], object]"
"""Called between two steps; raises `Interrupted` if a cell waits."""


class Interrupted(BaseException):
    """A cell waits: the save ends, and the state of the save before stays. No code that reads a value holds it up."""

    def __init__(self) -> None:
        stopping(self)


class UnwritableError(OSError):
    """A file of the state cannot be written: the disk is full."""


class NotOwnerError(Exception):
    """Another container of the session writes the state now."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is saved beside the values.

    Attributes:
        generation: the life of the namespace.
        run: the last run that has changed the namespace.
        claim: the kernel's claim on a detached session.
        python: minor version of Python.
        states: the process's state.
        packages: requirements that were installed into the running container.
        tree: the copy of the project.
        place: the working directory below it.
        files: files below `tree` that cells wrote.
    """

    generation: str
    run: str = ""
    claim: str = ""
    python: str = ""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    tree: Path | None = None
    place: str = ""
    files: tuple[str, ...] = ()


class _Hasher(Hasher):
    """A hasher that checks between two chunks whether a cell waits."""

    def __init__(self, check: Check, rules: Any) -> None:
        super().__init__()
        self._look, self.rules = check, rules

    def check(self) -> None:
        """Check whether a cell waits.

        Raises:
            Interrupted: one does.
        """
        self._look()


class _Stream(io.BytesIO):
    """A pickle's stream that checks at each frame whether a cell waits."""

    def __init__(self, check: Check) -> None:
        super().__init__()
        self._look = check

    def write(self, part: Any) -> int:
        """Append a part of the pickle.

        Raises:
            Interrupted: a cell waits.
        """
        self._look()
        return super().write(part)


class _Files:
    """The files of a state by their digests, as a store that is only written."""

    in_message = False

    def __init__(self, directory: Path, check: Check) -> None:
        self.directory, self._look = directory, check

    @property
    def inline(self) -> dict[str, bytes]:
        """Empty: no message contains the buffers."""
        return {}

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:  # noqa: ARG002 - Store's
        """Write a buffer into a file, unless the file exists, and return its key.

        Raises:
            Interrupted: a cell waits.
            UnwritableError: the file cannot be written.
        """
        self._look()
        if key is None:
            running = new_hash()
            for start in range(0, view.nbytes, CHUNK_BYTES):
                self._look()
                running.update(view[start : start + CHUNK_BYTES])
            key = str(running.hexdigest())
        target = self.directory / key
        if target.exists():
            return key
        part = self.directory / f".{os.getpid()}-{uuid.uuid4().hex}"
        try:
            write_file(part, view, key, lambda _: self._look())
            part.replace(target)
        except OSError as error:
            raise UnwritableError(error.errno, error.strerror) from error
        finally:
            part.unlink(missing_ok=True)
        return key

    def get(self, key: str) -> Any:  # noqa: ARG002 - Store's
        """Refuse: this store is only written.

        Raises:
            TransferError: always.
        """
        raise TransferError("a state that is being saved is only written.")

    def size(self, key: str) -> int:
        """Return the size of a file in bytes."""
        return (self.directory / key).stat().st_size

    def has(self, key: str) -> bool:
        """Whether a file exists."""
        return (self.directory / key).exists()

    def unwritten(self, view: memoryview) -> None:
        """Return None: nothing is read from this store."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A group of the last save. It is unchanged while its fingerprint and the tokens of its objects are."""

    stream: bytes
    tokens: tuple[int, ...]
    group: SavedGroup


@dataclass(slots=True)
class _SavedGroups:
    """The groups of a save.

    Attributes:
        kept: the groups that the state has, by their names.
        unsaved: the reason for each name that the state lacks.
        tokens: tokens of the saved objects.
    """

    kept: dict[tuple[str, ...], _Kept]
    unsaved: dict[str, str]
    tokens: set[int] = field(default_factory=set)

    def leave_out(self, names: tuple[str, ...], why: str) -> None:
        """Note why a group is not saved."""
        self.unsaved.update(dict.fromkeys(filter(_is_reported, names), why))


class Saver:
    """Writes the state of one session.

    Args:
        directory: the directory of the state.
        owner: name of this container. Of several, the last one that has claimed the state writes it.
    """

    def __init__(self, directory: Path, owner: str) -> None:
        self.directory, self.owner = directory, owner
        self._kept: dict[tuple[str, ...], _Kept] = {}
        self._files: dict[tuple[str, int, int], str] = {}
        """Keys of the working directory's files, by path, size and time of change."""
        self._claimed = False
        self._rules: Any = None

    def claim(self) -> None:
        """Become the one container that writes the state."""
        if not self._claimed:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / OWNER).write_text(self.owner)
            self._claimed = True

    @unwarned()
    def save(self, sync: NamespaceSync, moment: Moment, limit: int, check: Check) -> Manifest:
        """Save the namespace.

        Args:
            sync: the namespace, and what the notebook has of it.
            moment: what is saved beside the values.
            limit: size of all values in bytes; the largest are left out first.
            check: called between two steps.

        Raises:
            Interrupted: a cell waits.
            NotOwnerError: another container of the session writes the state now.
            OSError: the disk is full, or the Volume cannot be written.
        """
        self.claim()
        for name in (BUFFERS, GROUPS):
            (self.directory / name).mkdir(exist_ok=True)
        saved = self._save_groups(sync, limit, check)
        files, left_out = self._save_files(moment, check)
        manifest = Manifest(
            version=__version__,
            python=moment.python,
            generation=moment.generation,
            run=moment.run,
            groups=tuple(each.group for each in saved.kept.values()),
            unsaved=saved.unsaved | left_out,
            lost=dict(sync.unloaded.lost),
            result=sync.last_result,
            sync=_sync_facts(sync, saved.tokens),
            states=moment.states,
            packages=moment.packages,
            files=files,
            place=moment.place,
            saved_at=time.time(),
            claim=moment.claim,
        )
        check()
        self._replace(manifest)
        self._kept = {names: each for names, each in saved.kept.items() if each.stream}
        self._collect(manifest.keys)
        return manifest

    def _save_groups(self, sync: NamespaceSync, limit: int, check: Check) -> _SavedGroups:
        """Write the groups that changed and fit into the limit."""
        waiting = {names: _Kept(b"", (), group) for names, group in sync.unloaded.groups().items()}
        room = limit - sum(each.group.nbytes for each in waiting.values())
        token_of = _with_handed(sync)
        values = _values(sync)
        groups, failed = self._groups(values, sync.namespace, check)
        saved = _SavedGroups(waiting, failed)
        sizes = {names: sum(nbytes_of(values[name]) for name in names) for names, _ in groups}
        fitting = _fitting(sizes, room)
        for names, found in groups:
            check()
            if names not in fitting:
                saved.leave_out(names, f"{size_text(sizes[names])}, over --save {size_text(limit).replace(' ', '')}")
                continue
            tokens = tuple(map(token_of, found.objects))
            saved.tokens.update(tokens)
            before = self._kept.get(names)
            if before is None or (before.stream, before.tokens) != (found.stream, tokens):
                try:
                    before = _Kept(found.stream, tokens, self._write(names, values, sync, token_of, check))
                except TransferError as error:
                    if isinstance(error.__cause__, UnwritableError):
                        raise error.__cause__ from None
                    # The value has changed meanwhile, or its own code does not always do the same.
                    saved.leave_out(names, str(error))
                    continue
            saved.kept[names] = before
        return saved

    def _groups(
        self, values: Mapping[str, Any], namespace: dict[str, Any], check: Check
    ) -> tuple[list[tuple[tuple[str, ...], Print]], dict[str, str]]:
        """Return the groups with their fingerprints, and the reason for each name that cannot be pickled."""
        failed: dict[str, str] = {}
        found: list[tuple[tuple[str, ...], Print]] = []
        waiting = _grouped(values, namespace, check)
        while waiting:
            names = waiting.pop()
            check()
            print_ = self._look([values[name] for name in names], namespace, check)
            if print_ is not None:
                found.append((names, print_))
                continue
            good = [name for name in names if self._look([values[name]], namespace, check) is not None]
            if len(good) == len(names) and len(names) > 1:  # each alone can be pickled, together they cannot
                good = []
            for name in set(names).difference(good):
                failed[name] = why_not(values[name], namespace) or "it cannot be pickled"
            if good:
                waiting += _grouped({name: values[name] for name in good}, namespace, check)
        return found, {name: why for name, why in failed.items() if _is_reported(name)}

    def _look(self, several: list[Any], namespace: dict[str, Any], check: Check) -> Print | None:
        hasher = _Hasher(check, self._rules)
        try:
            return look(several, namespace, hasher, graphs=True)
        finally:
            self._rules = hasher.rules
            hasher.release()

    def _write(
        self,
        names: tuple[str, ...],
        values: Mapping[str, Any],
        sync: NamespaceSync,
        token_of: Callable[[Any], int],
        check: Check,
    ) -> SavedGroup:
        """Write the files of a group."""
        several = {name: values[name] for name in names}
        hasher = _Hasher(check, self._rules)
        store = _Files(self.directory / BUFFERS, check)
        try:
            look(several.values(), sync.namespace, hasher, graphs=True)  # finds the arrays that share memory
            packed = prepare(several, sync.namespace, store, hasher, table=IdentityTable(side=1), file=_Stream(check))
        finally:
            hasher.release()
        found = {number: token_of(value) for number, value in packed.objects.items()}
        tokens = {number: token for number, token in found.items() if token}
        content = sealed(GroupContent(packed.transfer, tokens))
        key = _Files(self.directory / GROUPS, check).put(memoryview(content))
        nbytes = packed.transfer.nbytes + len(content)
        is_held = any(held_in(name) is not None for name in names)
        early = nbytes < EARLY_BYTES or is_held or bool(tokens) or any(map(_is_definition, several.values()))
        return SavedGroup(
            names,
            key,
            {each: store.size(each) for each in packed.transfer.buffers},
            nbytes,
            early or not sync.user_names.known.isdisjoint(names),
            all(map(_is_definition, several.values())),
        )

    def _save_files(self, moment: Moment, check: Check) -> tuple[tuple[SavedFile, ...], dict[str, str]]:
        """Write the files of the working directory; return them, and those left out with the reason."""
        found = sorted(_existing(moment), key=lambda each: each[1].st_size)
        store = _Files(self.directory / BUFFERS, check)
        room, saved, left_out = FILES_BYTES, list[SavedFile](), dict[str, str]()
        for path, facts in found:
            check()
            room -= facts.st_size
            if room < 0:
                left_out[path] = f"{size_text(facts.st_size)}; files of {size_text(FILES_BYTES)} are saved"
                continue
            stamp = path, facts.st_size, facts.st_ctime_ns
            key = self._files.get(stamp)
            if key is None or not store.has(key):
                key = _put_file(store, Path(moment.tree or "", path))
                self._files[stamp] = key
            saved.append(SavedFile(path, key, facts.st_size, facts.st_mode & 0o777, facts.st_mtime_ns))
        return tuple(saved), left_out

    def _replace(self, manifest: Manifest) -> None:
        if (self.directory / OWNER).read_text() != self.owner:
            raise NotOwnerError
        part = self.directory / f".{MANIFEST}-{self.owner}"
        part.write_bytes(written(manifest))
        part.replace(self.directory / MANIFEST)

    def _collect(self, keys: frozenset[str]) -> None:
        """Remove the files that the manifest does not name."""
        for name in (BUFFERS, GROUPS):
            with os.scandir(self.directory / name) as entries:
                for entry in entries:
                    unfinished = entry.name.startswith(".") and entry.stat().st_mtime > time.time() - STALE_SECONDS
                    if entry.name not in keys and not unfinished:
                        Path(entry.path).unlink(missing_ok=True)


def _values(sync: NamespaceSync) -> dict[str, Any]:
    """Return what is saved: the user's names and modules, results by their numbers, and what the notebook may fetch."""
    namespace = sync.namespace
    results = [name for name in list(namespace) if name in LAST_RESULTS or is_numbered(name)]
    names = [*sync.user_names.bound, *results, *sync.user_names.definitions]
    found = {name: namespace[name] for name in names if name in namespace}
    kept = {name: value for name, value in found.items() if not (name in results and _is_nothing(value))}
    return (
        kept
        | sync.modules.saved()
        | sync.held.values()
        | {token_name(token): value for token, value in sync.shared_objects.stale_objects().items()}
    )


def _with_handed(sync: NamespaceSync) -> Callable[[Any], int]:
    """Return a function that gives an object's token, also while the notebook has not confirmed its fetch; 0: none."""
    handed = {
        id(value): packed.transfer.base + number
        for packed in sync.handed.waiting
        for number, value in packed.objects.items()
    }
    return lambda value: sync.table.token(value) or handed.get(id(value), 0)


def _is_nothing(value: Any) -> bool:
    return value is None or (type(value) is str and not value)


def _grouped(values: Mapping[str, Any], namespace: dict[str, Any], check: Check) -> list[tuple[str, ...]]:
    """Return names in groups, so that no object of one group is in another one."""
    graph = Graph(namespace, whole=True)
    for name, value in values.items():
        check()
        graph.add(name, value)
    return [tuple(sorted(values))] if graph.is_full else graph.groups()


def _fitting(sizes: Mapping[tuple[str, ...], int], room: int) -> set[tuple[str, ...]]:
    """Return the groups that fit, the smallest first."""
    fitting = set()
    for names in sorted(sizes, key=lambda each: sizes[each]):
        room -= sizes[names]
        if room < 0:
            break
        fitting.add(names)
    return fitting


def _is_reported(name: str) -> bool:
    """Whether the notebook has to know that a value is not saved: a user's name, or a value held for the notebook."""
    return held_in(name) is not None or not (name.startswith("<") or name in LAST_RESULTS)


def _is_definition(value: Any) -> bool:
    return is_a(value, type | FunctionType | ModuleType)


def _sync_facts(sync: NamespaceSync, saved: set[int]) -> SyncFacts:
    table = sync.table
    lost = [token for token in set(table.token_of.values()) if token not in saved]
    return SyncFacts(
        transfers=table.transfers,
        known=frozenset(sync.user_names.known),
        definitions=frozenset(sync.user_names.definitions),
        marks=sync.marks.facts(),
        digests=dict(table.digests),
        stale=tuple(sync.shared_objects.stale_objects()),
        shares=dict(sync.shared_objects.shares),
        forgotten=(*table.forgotten(), *lost),
        handed=tuple(Handover(each.transfer.base, tuple(each.named)) for each in sync.handed.waiting),
    )


def _existing(moment: Moment) -> Iterator[tuple[str, os.stat_result]]:
    for path in moment.files if moment.tree is not None else ():
        try:
            facts = Path(moment.tree or "", path).lstat()
        except OSError:
            continue
        yield path, facts


def _put_file(store: _Files, path: Path) -> str:
    """Write the content of a file of the working directory."""
    import mmap

    with path.open("rb") as file:
        if not path.stat().st_size:
            return store.put(memoryview(b""))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            return store.put(view)
