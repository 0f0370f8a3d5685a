"""Read a saved state: the next container does, from its mount, and the kernel, from the Volume, without a container."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from modal_gpu_magic._version import __version__
from modal_gpu_magic.errors import DamagedError, TransferError
from modal_gpu_magic.wire.buffers.hashing import new_hash
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.messages.seal import opened
from modal_gpu_magic.wire.messages.shapes import checked
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.saved import manifest as manifests
from modal_gpu_magic.wire.saved.manifest import FORMAT, GroupContent, Manifest, SavedGroup
from modal_gpu_magic.wire.saved.places import BUFFERS, GROUPS, MANIFEST, state_directory
from modal_gpu_magic.wire.transfer import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

Read: TypeAlias = "Callable[[str], bytes | bytearray]"
"""Returns the content of a file by its path.

Raises:
    FileNotFoundError: no file has the path.
"""

DAMAGED = "its saved file is damaged"
MISSING = "its saved file is missing"


class SavedStore:
    """The buffers of a saved state, as a store that is only read.

    Args:
        read: returns a file's content by its path below the directory of the state.
        sizes: sizes of the buffers in bytes.
    """

    in_message = False

    def __init__(self, read: Read, sizes: Mapping[str, int]) -> None:
        self._read, self._sizes = read, sizes

    @property
    def inline(self) -> dict[str, bytes]:
        """Empty: no message contains the buffers."""
        return {}

    def put(self, view: memoryview, key: str | None = None, keep: Collection[str] = ()) -> str:  # noqa: ARG002 - Store's
        """Refuse: this store is only read.

        Raises:
            TransferError: always.
        """
        raise TransferError("a saved state is only read.")

    def get(self, key: str) -> bytearray:
        """Return a private writable buffer with the content of a key.

        Raises:
            DamagedError: the file is missing, or has another content than its name says.
        """
        content = read_checked(self._read, f"{BUFFERS}/{key}", key)
        return content if isinstance(content, bytearray) else bytearray(content)

    def size(self, key: str) -> int:
        """Return the size of a buffer.

        Raises:
            DamagedError: the state has no such buffer.
        """
        if key not in self._sizes:
            raise DamagedError(DAMAGED)
        return self._sizes[key]

    def has(self, key: str) -> bool:
        """Whether the state has a buffer."""
        return key in self._sizes

    def unwritten(self, view: memoryview) -> None:
        """Return None: writes to ordinary memory are not recorded."""


def read_checked(read: Read, path: str, key: str) -> bytes | bytearray:
    """Return the content of a file whose name is the digest of the content.

    Raises:
        DamagedError: the file is missing, or has another content than its name says.
    """
    try:
        content = read(path)
    except FileNotFoundError:
        raise DamagedError(MISSING) from None
    running = new_hash()
    running.update(content)
    if running.hexdigest() != key:
        raise DamagedError(DAMAGED)
    return content


@dataclass(frozen=True, slots=True)
class LoadedGroup:
    """The values of one group.

    Attributes:
        values: the values by name.
        failed: the names that could not be loaded, with the reason.
        made: classes and functions of the notebook that the group has by value, by their qualified names.
        objects: the objects that had a token, by the token.
    """

    values: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    objects: dict[int, Any] = field(default_factory=dict)


def load_group(
    read: Read, group: SavedGroup, namespace: dict[str, Any], *, bind: bool = False, restore_devices: bool = False
) -> LoadedGroup:
    """Load the values of a group: all of them, or each name that cannot be loaded has its reason.

    Args:
        read: returns a file's content by its path below the directory of the state.
        group: the group.
        namespace: the globals of the functions in the group.
        bind: bind the names while values are loaded, because a value may look one up. Names that fail are not bound.
        restore_devices: move tensors to the GPU that they were on, if this machine has that GPU.
    """
    table = IdentityTable(side=0)
    try:
        content = checked(opened(bytes(read_checked(read, f"{GROUPS}/{group.file}", group.file))), GroupContent)
        transfer = content.transfer
        arrived = unpack(
            transfer,
            namespace,
            SavedStore(read, group.buffers),
            table=table,
            bind=bind and set(transfer.names) == set(group.names),  # else a name was bound again since
            restore_devices=restore_devices,
        )
    except (TransferError, OSError, MemoryError) as error:
        return LoadedGroup(failed=dict.fromkeys(group.names, str(error) or type(error).__name__))
    found = {token: table.find(transfer.base + number) for number, token in content.tokens.items()}
    objects = {token: value for token, value in found.items() if value is not None}
    values = {name: value for name, value in arrived.values.items() if name in group.names}
    failed = {name: why for name, why in arrived.failed.items() if name in group.names}
    return LoadedGroup(values, failed, arrived.made, objects)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Values of a saved state by name, and the reason for each name that could not be loaded."""

    values: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class SavedState:
    """The saved state of a session. Use `open`.

    Attributes:
        manifest: what the state consists of.
        read: returns a file's content by its path below the directory of the state.
    """

    def __init__(self, manifest: Manifest, read: Read) -> None:
        self.manifest, self.read = manifest, read

    @classmethod
    def open(cls, read: Read, session: str) -> SavedState | None:
        """Open the state of a session by the paths of its Volume; None: no state of this version is saved.

        Raises:
            DamagedError: the manifest is damaged.
        """
        top = state_directory(session)
        return cls.open_at(lambda path: read(f"{top}/{path}"))

    @classmethod
    def open_at(cls, read: Read) -> SavedState | None:
        """Open a state by the paths below its own directory; None: no state of this version is saved.

        Raises:
            DamagedError: the manifest is damaged.
        """
        try:
            content = read(MANIFEST)
        except FileNotFoundError:
            return None
        found = manifests.read(bytes(content))
        return cls(found, read) if (found.format, found.version) == (FORMAT, __version__) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The user's names that are saved."""
        return self.manifest.names

    def places_with(self, modules: Collection[str]) -> tuple[str, ...]:
        """Return the saved variables of the user's modules that share objects with names, and those of some modules."""
        found = []
        for group in self.manifest.groups:
            has_names = any(not name.startswith("<") for name in group.names)
            places = ((name, place_in(name)) for name in group.names)
            found += [name for name, place in places if place is not None and (has_names or place[0] in modules)]
        return tuple(found)

    @property
    def unsaved(self) -> dict[str, str]:
        """The names that are not saved, with the reason: `it was not saved: it holds a lock`."""
        unsaved = {name: f"it was not saved: {why}" for name, why in self.manifest.unsaved.items()}
        return {**self.manifest.lost, **unsaved}

    @property
    def result(self) -> str:
        """The name of the last run's result; empty: it had none, or it is not saved."""
        return self.manifest.result

    @property
    def run(self) -> str:
        """The last run whose changes the state has."""
        return self.manifest.run

    @property
    def generation(self) -> str:
        """The life of the namespace."""
        return self.manifest.generation

    @property
    def saved_at(self) -> float:
        """When the state was saved, seconds since the epoch."""
        return self.manifest.saved_at

    @property
    def nbytes(self) -> int:
        """Size of all values and files."""
        return self.manifest.nbytes

    def load(self, names: Iterable[str], namespace: dict[str, Any]) -> Loaded:
        """Load values; those that share objects share them again. CUDA tensors come to the CPU. Nothing is bound.

        Args:
            names: the names.
            namespace: the globals of the loaded functions.
        """
        asked = set(names)
        loaded = Loaded()
        for group in self.manifest.groups:
            if not asked.isdisjoint(group.names):
                found = load_group(self.read, group, namespace)
                loaded.values.update({name: value for name, value in found.values.items() if name in asked})
                loaded.failed.update({name: why for name, why in found.failed.items() if name in asked})
        lacking = asked - loaded.values.keys() - loaded.failed.keys()
        loaded.failed.update({name: self.unsaved.get(name, "no cell had bound it") for name in lacking})
        return loaded
