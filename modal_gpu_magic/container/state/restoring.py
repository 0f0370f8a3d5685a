"""Restore a session's namespace from the saved state: what a cell may read before the cell, the rest between cells.

Small groups, functions and classes, and all objects that the notebook has are loaded first: the notebook may name any
of these. A large value that only the container had is loaded when a cell reads it, or when no cell runs.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.buffers.hashing import CHUNK_BYTES
from modal_gpu_magic.wire.messages.events import Transfer
from modal_gpu_magic.wire.pickles.identity import base_of
from modal_gpu_magic.wire.saved.places import BUFFERS
from modal_gpu_magic.wire.saved.reading import SavedState, load_group, read_checked
from modal_gpu_magic.wire.transfer import Packed
from modal_gpu_magic.wire.values.referenced_globals import reach
from modal_gpu_magic.wire.values.silent_warnings import unwarned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from modal_gpu_magic.container.state.namespace import NamespaceSync
    from modal_gpu_magic.container.state.saving import Check
    from modal_gpu_magic.wire.saved.manifest import SavedGroup, SyncFacts

NOT_RELATED = "its container has ended, and the saved state is of another notebook or of a later cell"
CHANGED_SINCE = "its container has ended, and the cells after the last save may have changed it"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new container restores.

    Attributes:
        state: the saved state.
        continues: the notebook's tokens stay valid, because the state is of the last run that the notebook knows.
        changed: names that runs after the save may have changed, which are lost; None: any name may have been changed.
    """

    state: SavedState
    continues: bool
    changed: frozenset[str] | None = frozenset()


def never() -> None:
    """Do nothing: no cell can wait now."""


def reader(directory: Path, check: Callable[[], Check]) -> Callable[[str], bytearray]:
    """Return a function that reads a file of the state; it checks between two parts whether a cell waits.

    Args:
        directory: the directory of the state.
        check: returns the check of the present load.
    """

    def read(path: str) -> bytearray:
        look = check()
        with (directory / path).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            content = bytearray(size)
            with memoryview(content) as view:
                done = 0
                while done < size:
                    look()
                    count = file.readinto(view[done : done + CHUNK_BYTES])
                    if not count:
                        raise DamagedError("its saved file is damaged")
                    done += count
        return content

    return read


class Restorer:
    """Restores one saved state into the namespace of this container.

    Args:
        plan: what to restore.
        sync: the namespace.

    Attributes:
        nbytes: size of what was loaded so far.
        seconds: the time that this took.
    """

    def __init__(self, plan: Plan, sync: NamespaceSync) -> None:
        self.plan, self.sync = plan, sync
        self.nbytes, self.seconds = 0, 0.0
        self._handed: dict[int, dict[int, Any]] = {}

    @property
    def facts(self) -> SyncFacts:
        """What the container before knew of the notebook."""
        return self.plan.state.manifest.sync

    def begin(self) -> None:
        """Take over what needs no cell: small groups, functions, classes, and the objects that the notebook has."""
        state, sync = self.plan.state, self.sync
        if self.plan.continues:
            sync.resume(self.facts)
        for name, why in state.unsaved.items():
            sync.lack(name, why)
        groups = state.manifest.groups
        for group in groups:
            sync.unloaded.waiting.update(dict.fromkeys(group.names, group))
        self._load([group for group in groups if group.is_early], never)
        if self.plan.continues:
            for each in self.facts.handed:
                sync.handed.add(
                    Packed(Transfer(base=each.base), self._handed.get(each.base, {}), frozenset(each.named))
                )
        elif self.plan.changed != frozenset():
            self._drop_changed()
        sync.last_result = state.result

    def need(self, names: Iterable[str], check: Check = never) -> None:
        """Load what a cell that reads some names may reach."""
        waiting = self.sync.unloaded.waiting
        asked = set(names)
        while waiting and (found := reach(asked, self.sync.namespace) | asked) & waiting.keys():
            groups = {id(waiting[name]): waiting[name] for name in found & waiting.keys()}
            self._load(list(groups.values()), check)

    def rest(self, check: Check) -> None:
        """Load one group after the other until a cell waits."""
        while self.sync.unloaded.waiting:
            self._load([next(iter(self.sync.unloaded.waiting.values()))], check)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to load."""
        return not self.sync.unloaded.waiting

    @unwarned()
    def _load(self, groups: list[SavedGroup], check: Check) -> None:
        began = time.monotonic()
        namespace, sync = self.sync.namespace, self.sync
        for group in sorted(groups, key=_order):
            check()
            before = {name: namespace[name] for name in group.names if name in namespace}
            try:
                loaded = load_group(self._read_with(check), group, namespace, bind=not before, restore_devices=True)
            except BaseException:  # a cell waits: no name of the group is seen
                for name in group.names:
                    if name not in before:
                        namespace.pop(name, None)
                raise
            for name in group.names:
                sync.unloaded.waiting.pop(name, None)
            sync.rebind(loaded, self.facts, continues=self.plan.continues)
            self._note_handed(loaded.objects)
            self.nbytes += group.nbytes
        self.seconds += time.monotonic() - began

    def _read_with(self, check: Check) -> Callable[[str], bytes | bytearray]:
        read = self.plan.state.read

        def checked(path: str) -> bytes | bytearray:
            check()
            return read(path)

        return checked

    def _note_handed(self, objects: dict[int, Any]) -> None:
        """Note the objects of fetches that the notebook has not confirmed."""
        bases = {each.base for each in self.facts.handed}
        for token, value in objects.items():
            if (base := base_of(token)) in bases:
                self._handed.setdefault(base, {})[token - base] = value

    def _drop_changed(self) -> None:
        """Give up the names that runs after the save may have changed, with all that shares objects with them."""
        sync, changed = self.sync, self.plan.changed
        lost = set(self.plan.state.names)
        if changed is not None:
            touched = reach(changed, sync.namespace) | changed
            groups = [group.names for group in self.plan.state.manifest.groups]
            lost = {name for names in groups if not touched.isdisjoint(names) for name in names}
        for name in lost:
            sync.unloaded.discard(name)
            sync.lack(name, CHANGED_SINCE)


def _order(group: SavedGroup) -> tuple[bool, int]:
    """Functions and classes come first: a value that is loaded may call them."""
    return not group.is_definition, group.nbytes


def restore_files(state: SavedState, tree: Path) -> dict[str, str]:
    """Write the saved files of the working directory; return those that could not be restored, with the reason."""
    failed: dict[str, str] = {}
    for file in state.manifest.files:
        target = tree / file.path
        try:
            content = read_checked(state.read, f"{BUFFERS}/{file.key}", file.key)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(file.mode)
            os.utime(target, ns=(file.changed, file.changed))
        except (DamagedError, OSError) as error:
            failed[file.path] = str(error)
    return failed
