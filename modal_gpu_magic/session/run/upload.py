"""A large transfer to the container: a thread writes it, the front shows its progress, ■ cancels it."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from modal_gpu_magic.session.run.front import State
from modal_gpu_magic.session.run.interrupts import stopped
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.session.run.front import Front
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.wire.buffers.stores import SharedStore
    from modal_gpu_magic.wire.transfer import Packed

LARGE_BYTES = 256_000_000
"""Minimum size of a transfer that is written in a thread with progress, bytes. Smaller ones take too little time."""
UPDATE_SECONDS = 0.25
"""Seconds between two updates of the progress."""


class Sending:
    """One transfer to a store. `total`: its size, bytes."""

    def __init__(self, store: SharedStore, total: int) -> None:
        self.store, self.total = store, total
        self.written = 0
        self.stopped = False
        self._packed: list[Packed] = []
        self._error: BaseException | None = None

    def run(self, pack: Callable[[], Packed], front: Front, inbox: Inbox) -> Packed:
        """Run `pack` in a thread and wait for it.

        Raises:
            KeyboardInterrupt: ■ was pressed; the cell was not sent.
            TransferError: raised by `pack`.
        """
        before, self.store.wrote = self.store.wrote, self._wrote
        thread = threading.Thread(target=self._pack, args=(pack,), name="modal-gpu-send", daemon=True)
        began = time.monotonic()
        thread.start()
        try:
            while thread.is_alive():
                self._look(inbox)
                front.show(State("sending", self._subject(), time.monotonic() - began))
        finally:
            thread.join()
            self.store.wrote = before
        if self._error is not None:
            raise self._error
        return self._packed[0]

    def _pack(self, pack: Callable[[], Packed]) -> None:
        try:
            self._packed.append(pack())
        except BaseException as error:  # noqa: BLE001 - raised again on the cell's thread
            self._error = error

    def _wrote(self, nbytes: int) -> None:
        self.written += nbytes
        if self.stopped:
            raise stopped("stopped while values were being sent; the cell did not run")

    def _look(self, inbox: Inbox) -> None:
        try:
            kind, _ = inbox.get(timeout=UPDATE_SECONDS)
        except queue.Empty:
            return
        self.stopped = self.stopped or kind == "press"

    def _subject(self) -> str:
        return f"{size_text(self.written)} of {size_text(self.total)}"
