"""The stores of the kernel that has the session: a directory that both sides can read, or the message itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore

if TYPE_CHECKING:
    from modal_gpu_magic.wire.buffers.stores import Store
    from modal_gpu_magic.wire.messages.events import Transfer


class KernelStores:
    """The stores of the kernel's transfers. Each directory has one store, which knows how much room is left."""

    def __init__(self) -> None:
        self._shared: dict[str, SharedStore] = {}

    def store(self, directory: str | None, values: Transfer | None = None) -> Store:
        """Return the store of a transfer.

        Args:
            directory: directory of shared buffers; None: the message has the buffers.
            values: a received transfer, whose message may have the buffers; None: a transfer that is sent.
        """
        if directory is None:
            return InlineStore(dict(values.inline) if values else {})
        if directory not in self._shared:
            self._shared[directory] = SharedStore(directory)
        return self._shared[directory]

    def remove(self) -> None:
        """Remove all directories: the kernel that made them may have ended without removing them."""
        for store in self._shared.values():
            store.remove()
        self._shared.clear()
