"""Send the notebook's own modules to the container and keep them up to date.

A module is sent when a cell imports it or a value refers to it (a function of the module, an instance of its class),
with all files of its package and the user's own modules that they import. Before every later cell, changed files are
sent again, and removed files are removed in the container.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.plan.cell.module_imports import imported
from modal_gpu_magic.session.project.directories import source_of
from modal_gpu_magic.session.project.module_origin import files_of, installed_locations, own_locations
from modal_gpu_magic.wire.inspection.size import size_text
from modal_gpu_magic.wire.messages.events import Modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TOTAL_BYTES = 20_000_000
"""Maximum size of all module files in a session's container, bytes."""
DATA_BYTES = 1_000_000
"""Maximum size of a package's file that is not Python source, bytes."""
COMPILED = (".so", ".pyd", ".dylib")
"""Ends of files that run on the platform alone for which they were built."""
MOST_FILES = 2_000
"""Maximum number of module files in a session's container."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A module file.

    Attributes:
        stamp: modification time in nanoseconds and size in bytes when the file was read.
        content: the content.
        digest: hash of the content.
        imports: top-level modules that the file imports.
    """

    stamp: tuple[int, int]
    content: bytes
    digest: bytes
    imports: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """The user's own modules for a cell, with the modules that they import.

    Attributes:
        modules: top-level names of the user's own modules.
        foreign: other top-level names that the cell or these modules need.
        files: local path of each file, by its path in the container.
        entries: directories of the project that must be on the container's `sys.path`.
    """

    modules: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    files: dict[str, str] = field(default_factory=dict)
    entries: tuple[str, ...] = ()


class LocalModules:
    """Tracks the notebook's own modules in the session's container.

    Args:
        most: maximum number of files.
        place: returns the path of a local file in the container's copy of the project; None: the file is outside. A
            module of the project keeps its path in the copy, so that it finds the same files next to it.
        shares_packages: whether containers see the packages that this kernel has installed. Else those that were
            installed from a directory of this machine are sent, because no index has them.
    """

    def __init__(
        self,
        most: int = MOST_FILES,
        place: Callable[[str], str | None] = lambda _: None,
        *,
        shares_packages: bool = False,
    ) -> None:
        self._most, self._place, self._shares_packages = most, place, shares_packages
        self._modules: frozenset[str] = frozenset()
        self._sent: dict[str, bytes] = {}
        self._next: tuple[frozenset[str], dict[str, bytes]] = (frozenset(), {})
        self._known: dict[str, _Known] = {}
        self._installed: set[str] = set()

    def outgoing(self, names: Iterable[str], exclude: Iterable[str] = ()) -> Modules | None:
        """The files to send for a cell that needs the modules `names`; None: the container has all files.

        Raises:
            TransferError: the files are too large or too many; the message names the biggest and the remedy.
        """
        found = self.find(names, exclude)
        digests = {remote: self._known[local].digest for remote, local in found.files.items()}
        self._next = found.modules, digests
        if digests == self._sent:
            return None
        changed = [path for path, digest in digests.items() if self._sent.get(path) != digest]
        contents = {path: self._known[found.files[path]].content for path in changed}
        return Modules(tuple(sorted(digests)), contents, found.entries)

    def runs_again(self, found: Found) -> bool:
        """Whether the container has former files of some modules, and runs these modules again."""
        sent = ((self._sent.get(remote), self._known[local].digest) for remote, local in found.files.items())
        return any(before not in (None, now) for before, now in sent)

    def has(self, paths: Iterable[str]) -> bool:
        """Whether the container has a file of one of some paths."""
        return not self._sent.keys().isdisjoint(paths)

    def arrived(self) -> None:
        """Record that the container has the files of the last `outgoing`."""
        self._modules, self._sent = self._next

    def forget(self) -> None:
        """Discard the state of an ended container."""
        self._modules, self._sent = frozenset(), {}

    def resend(self) -> None:
        """Send all files again with the next cell: another container goes on with the values."""
        self._sent = {}

    def find(self, names: Iterable[str], exclude: Iterable[str] = ()) -> Found:
        """Find the user's own modules among `names` and those sent before, with the modules that they import.

        Raises:
            TransferError: the files are too large or too many.
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
            for remote, local in self._files(module):
                modules.add(module)
                entry = self._entry(remote, local)
                entries.update({} if entry is None else {entry: None})
                files[remote if entry is None else f"/{entry}/{remote}"] = local
                waiting += self._known[local].imports
                if len(files) > self._most:
                    raise self._too_much(f"more than {self._most:,} files", files, entries)
        if sum(self._known[local].stamp[1] for local in files.values()) > TOTAL_BYTES:
            raise self._too_much(f"over the limit of {size_text(TOTAL_BYTES)}", files, entries)
        return Found(frozenset(modules), frozenset(seen - modules - set(exclude)), files, tuple(entries))

    def _files(self, module: str) -> Iterator[tuple[str, str]]:
        """Yield remote and local path of each file of a module to send; nothing if the module is not the user's own."""
        if module in self._installed:
            return
        places = own_locations(module)
        directory = "" if places or self._shares_packages else source_of(module)
        if directory:
            places = installed_locations(module)
        if places == ():
            self._installed.add(module)
        for place in places or ():
            for remote, local, facts in files_of(module, place):
                if directory and local.endswith(COMPILED):
                    raise TransferError(
                        f"cannot send {module}: it was installed from {directory} and has compiled code ({remote}). "
                        "Build a wheel of it for Linux, put that where the image can reach it (--pip URL, or "
                        f"--image VARIABLE), or run without it: --no-in {module}."
                    )
                if self._read(local, (facts.st_mtime_ns, facts.st_size)):
                    yield remote, local

    def _entry(self, remote: str, local: str) -> str | None:
        """The entry of `sys.path` in the project's copy that finds a module's file at its path; None: none exists."""
        place = self._place(local)
        return place.removesuffix(f"/{remote}") if place is not None and place.endswith(f"/{remote}") else None

    def _read(self, path: str, stamp: tuple[int, int]) -> bool:
        """Read a file if it has changed. False: the file cannot be read or is too large to send."""
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
        sizes = {name_of(remote, entries): self._known[local].stamp[1] for remote, local in files.items()}
        biggest = max(sizes, key=lambda remote: sizes[remote])
        module = biggest.partition("/")[0].removesuffix(".py")
        return TransferError(
            f"cannot send the notebook's own modules: {size_text(sum(sizes.values()))} in {len(sizes):,} files, "
            f"{how_much}; the biggest is {biggest} ({size_text(sizes[biggest])}). Keep data on a Volume "
            f"(%modal_gpu put), install the package in the container with --pip, or run without it: --no-in {module}."
        )


def name_of(path: str, entries: Iterable[str]) -> str:
    """The path of a module's file below its entry of `sys.path`."""
    return min((path.removeprefix(f"/{entry}/") for entry in entries), key=len, default=path)
