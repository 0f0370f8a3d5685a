"""The notebook's own modules: which of their files travel with a cell, and when again.

A module travels when a cell imports it, or when a value refers to it by name (a function of it, an instance of a class
of it), with all files of its package and with the user's own modules that these import. After that its files are looked
at before every cell: what was changed is sent again, what was removed is removed there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.plan.cell.module_imports import imported
from modal_gpu_magic.session.project.module_origin import files_of, homes
from modal_gpu_magic.wire.inspection.size import size_text
from modal_gpu_magic.wire.messages.events import Modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TOTAL_BYTES = 20_000_000
"""Of all files that a session's container gets this way."""
DATA_BYTES = 1_000_000
"""The largest file that comes along with a package and is no Python source."""
MOST_FILES = 2_000


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as it was last read; `stamp` is its time and size."""

    stamp: tuple[int, int]
    content: bytes
    digest: bytes
    imports: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """The user's own modules among some names, with all that they import.

    Attributes:
        modules: their top-level names. foreign: the other names, and what they import that is not the user's own.
        files: the path there -> the path here.
        entries: directories of the project that must be on `sys.path` there.
    """

    modules: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    files: dict[str, str] = field(default_factory=dict)
    entries: tuple[str, ...] = ()


class LocalModules:
    """What the session's container has of the notebook's own modules.

    Args:
        most: files at most.
        place: where a file is in the container's copy of the project; None: in none. A module of the project lies at
            its own place there, so that what it finds beside itself is the same.
    """

    def __init__(self, most: int = MOST_FILES, place: Callable[[str], str | None] = lambda _: None) -> None:
        self._most, self._place = most, place
        self._modules: frozenset[str] = frozenset()
        self._there: dict[str, bytes] = {}
        self._next: tuple[frozenset[str], dict[str, bytes]] = (frozenset(), {})
        self._known: dict[str, _Known] = {}
        self._installed: set[str] = set()

    def outgoing(self, names: Iterable[str], exclude: Iterable[str] = ()) -> Modules | None:
        """What must travel for a cell that needs the modules `names`; None: the container has it all.

        Raises:
            TransferError: they are too large, or too many; it names the biggest, and the way out.
        """
        found = self.find(names, exclude)
        digests = {there: self._known[here].digest for there, here in found.files.items()}
        self._next = found.modules, digests
        if digests == self._there:
            return None
        changed = [path for path, digest in digests.items() if self._there.get(path) != digest]
        contents = {path: self._known[found.files[path]].content for path in changed}
        return Modules(tuple(sorted(digests)), contents, found.entries)

    def arrived(self) -> None:
        """The container has what `outgoing` last found."""
        self._modules, self._there = self._next

    def forget(self) -> None:
        """The container is gone."""
        self._modules, self._there = frozenset(), {}

    def find(self, names: Iterable[str], exclude: Iterable[str] = ()) -> Found:
        """The user's own modules among `names` and those that are there already, with all that they import.

        Raises:
            TransferError: they are too large, or too many.
        """
        waiting = [*(name.partition(".")[0] for name in names), *self._modules]
        seen, modules = set(exclude), set[str]()
        files: dict[str, str] = {}
        entries: dict[str, None] = {}
        while waiting:
            module = waiting.pop()
            if module in seen:
                continue
            seen.add(module)
            for there, here in self._files(module):
                modules.add(module)
                entry = self._entry(there, here)
                entries.update({} if entry is None else {entry: None})
                files[there if entry is None else f"/{entry}/{there}"] = here
                waiting += self._known[here].imports
                if len(files) > self._most:
                    raise self._too_much(f"more than {self._most:,} files", files, entries)
        if sum(self._known[here].stamp[1] for here in files.values()) > TOTAL_BYTES:
            raise self._too_much(f"over the limit of {size_text(TOTAL_BYTES)}", files, entries)
        return Found(frozenset(modules), frozenset(seen - modules - set(exclude)), files, tuple(entries))

    def _files(self, module: str) -> Iterator[tuple[str, str]]:
        """The files of a module that travel; none if it is not the user's own."""
        if module in self._installed:
            return
        places = homes(module)
        if places == ():
            self._installed.add(module)
        for place in places or ():
            for there, here, facts in files_of(module, place):
                if self._look(here, (facts.st_mtime_ns, facts.st_size)):
                    yield there, here

    def _entry(self, there: str, here: str) -> str | None:
        """The directory of the project's copy that finds a module's file at its own place; None: none does."""
        place = self._place(here)
        return place.removesuffix(f"/{there}") if place is not None and place.endswith(f"/{there}") else None

    def _look(self, path: str, stamp: tuple[int, int]) -> bool:
        """Know a file as it is now, read only if it was changed. False: it is gone, or too large to come along."""
        known = self._known.get(path)
        if known is not None and known.stamp == stamp:
            return True
        is_source = path.endswith(".py")
        if stamp[1] > DATA_BYTES and not is_source:
            return False
        try:
            content = Path(path).read_bytes()
        except OSError:
            return False
        digest = hashlib.blake2b(content, digest_size=16).digest()
        self._known[path] = _Known(stamp, content, digest, imported(content) if is_source else frozenset())
        return True

    def _too_much(self, how_much: str, files: dict[str, str], entries: Iterable[str]) -> TransferError:
        sizes = {name_of(there, entries): self._known[here].stamp[1] for there, here in files.items()}
        biggest = max(sizes, key=lambda there: sizes[there])
        module = biggest.partition("/")[0].removesuffix(".py")
        return TransferError(
            f"cannot send the notebook's own modules: {size_text(sum(sizes.values()))} in {len(sizes):,} files, "
            f"{how_much}; the biggest is {biggest} ({size_text(sizes[biggest])}). Keep data on a Volume "
            f"(%modal_gpu put), install the package in the container with --pip, or run without it: --no-in {module}."
        )


def name_of(path: str, entries: Iterable[str]) -> str:
    """The path of a module's file below the directory that it is found in."""
    return min((path.removeprefix(f"/{entry}/") for entry in entries), key=len, default=path)
