"""What a saved state consists of: one manifest, which names the files of the groups and of their buffers.

A file has the digest of its content as its name, so a file that exists is not written again, and a damaged one is
known. The manifest is the last file to be written: all files that it names exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from modal_gpu_magic.wire.messages.events import Shared, Transfer
from modal_gpu_magic.wire.messages.seal import opened, sealed
from modal_gpu_magic.wire.messages.shapes import checked

FORMAT: Final = 1
"""Number of this format: another version's state is not read."""


@dataclass(frozen=True, slots=True)
class SavedGroup:
    """Names that share objects.

    Attributes:
        names: the names; `<object N>` for an object that the notebook knows by its token only.
        file: name of the group's file.
        buffers: the names of its buffers' files, with their sizes in bytes.
        nbytes: size of all its files.
        is_early: the group is loaded before the first cell: it is small, or has objects that the notebook has.
        is_definition: the group has functions, classes and modules only.
    """

    names: tuple[str, ...]
    file: str
    buffers: dict[str, int] = field(default_factory=dict)
    nbytes: int = 0
    is_early: bool = False
    is_definition: bool = False


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file of the working directory that a cell wrote.

    Attributes:
        path: the path below the container's copy of the project.
        key: name of the file with its content.
        nbytes: its size.
        mode: its permissions.
        changed: time of its last change, nanoseconds since the epoch.
    """

    path: str
    key: str
    nbytes: int
    mode: int
    changed: int


@dataclass(frozen=True, slots=True)
class GroupContent:
    """The content of a group's file.

    Attributes:
        transfer: the values; its long buffers are files.
        tokens: tokens of the objects, by their number in the transfer.
    """

    transfer: Transfer
    tokens: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Handover:
    """A fetch that the notebook has not confirmed. `base`: its first token; `named`: tokens that it names."""

    base: int
    named: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncFacts:
    """What the container knows of the objects and names that the notebook has as well.

    Attributes:
        transfers: number of transfers that the container has sent.
        known: names that are bound to the same objects in the notebook.
        definitions: names that are bound only so that pickle finds a class or a function.
        marks: by the names of a group, the digest of its content and the tokens of its objects.
        digests: by the token of a large buffer's owner, the digest of the buffer at the last transfer.
        stale: tokens of objects whose content is newer than the notebook's.
        shares: what values that only the container has share with the notebook.
        forgotten: tokens that the container has given up and not yet reported.
        handed: fetches that the notebook has not confirmed.
    """

    transfers: int = 0
    known: frozenset[str] = frozenset()
    definitions: frozenset[str] = frozenset()
    marks: dict[tuple[str, ...], tuple[bytes, tuple[int, ...]]] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)
    stale: tuple[int, ...] = ()
    shares: dict[str, Shared] = field(default_factory=dict)
    forgotten: tuple[int, ...] = ()
    handed: tuple[Handover, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The saved state of a session.

    Attributes:
        version: version of this package: pickles of another one may not load.
        python: minor version of Python, `3.11`.
        generation: the life of the namespace; a container that restores the state continues it.
        run: the last run whose changes the state has.
        claim: the kernel's claim on a detached session under which `sync` was made; empty: the session is no such one.
        groups: the saved groups.
        unsaved: names that are not saved, with the reason.
        lost: names that an earlier container had and this one has not, with the reason.
        result: name of the last run's result; empty: it had none.
        sync: the identity table, without its objects.
        states: the process's state: random generators, environment, options.
        packages: requirements that were installed into the running container.
        files: files of the working directory that cells wrote.
        place: the working directory, below the copy of the project.
        saved_at: when the state was saved, seconds since the epoch.
        format: number of this format.
    """

    version: str
    python: str
    generation: str
    run: str
    groups: tuple[SavedGroup, ...] = ()
    unsaved: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    result: str = ""
    sync: SyncFacts = field(default_factory=SyncFacts)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    files: tuple[SavedFile, ...] = ()
    place: str = ""
    saved_at: float = 0.0
    claim: str = ""
    format: int = FORMAT

    @property
    def nbytes(self) -> int:
        """Size of all values and files."""
        return sum(group.nbytes for group in self.groups) + sum(file.nbytes for file in self.files)

    @property
    def names(self) -> tuple[str, ...]:
        """The user's names that are saved."""
        return tuple(sorted(name for group in self.groups for name in group.names if not name.startswith("<")))

    @property
    def keys(self) -> frozenset[str]:
        """The names of all files that the manifest names."""
        buffers = {key for group in self.groups for key in group.buffers}
        return frozenset({group.file for group in self.groups} | buffers | {file.key for file in self.files})


def written(manifest: Manifest) -> bytes:
    """Return a manifest's file."""
    return sealed(manifest)


def read(content: bytes) -> Manifest:
    """Return the manifest of a file.

    Raises:
        DamagedError: this is no manifest.
    """
    return checked(opened(content), Manifest)
