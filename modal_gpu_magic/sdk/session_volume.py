"""The Volume of a kernel's sessions: one a backend, opened when a session first saves, ended with the kernel.

`VolumeFiles` reads the files of a Volume; also those of a detached session's, which stays.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.sdk.heartbeats import heartbeats_to

if TYPE_CHECKING:
    from collections.abc import Iterator


class SessionVolume:
    """An ephemeral Volume, held open for the life of the kernel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._volume: Any = None

    def open(self, client: Any) -> Any:
        """Return the `modal.Volume`; create it at the first call."""
        import modal

        with self._lock:
            if self._volume is None:
                with heartbeats_to(self._heartbeat_failed):
                    self._volume = self._stack.enter_context(modal.Volume.ephemeral(client=client))
                atexit.register(self.close)
            return self._volume

    @property
    def id(self) -> str:
        """Modal's id of the Volume; empty: it is not open."""
        return "" if self._volume is None else str(self._volume.object_id)

    def close(self) -> None:
        """End the Volume: without its heartbeats, Modal removes it."""
        with self._lock:
            self._volume = None
            with contextlib.suppress(Exception):
                self._stack.close()

    def _heartbeat_failed(self, error: BaseException | None) -> None:
        """Do nothing: a Volume that Modal has ended is noticed by the next container, which has nothing to restore."""


class VolumeFiles:
    """The files of a session's Volume."""

    def __init__(self, volume: Any) -> None:
        self._volume = volume

    def paths(self, directory: str) -> list[str]:
        """Return the paths of all files below a directory; empty: there is none."""
        try:
            return [entry.path for entry in self._volume.iterdir(directory, recursive=True)]
        except Exception as error:
            if _is_missing(error):
                return []
            raise

    def directories(self, directory: str) -> list[str]:
        """Return the paths of what is in a directory; empty: there is none."""
        try:
            return [entry.path for entry in self._volume.iterdir(directory, recursive=False)]
        except Exception as error:
            if _is_missing(error):
                return []
            raise

    def chunks(self, path: str) -> Iterator[bytes] | None:
        """Return the content of a file in chunks; None: the file does not exist."""
        chunks = iter(self._volume.read_file(path))
        try:
            first = next(chunks, b"")
        except Exception as error:
            if _is_missing(error):
                return None
            raise
        return itertools.chain((first,), chunks)

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        content = self.content(path)
        if content is None:
            raise FileNotFoundError(path)
        return content

    def content(self, path: str) -> bytes | None:
        """Return the content of a file; None: the file does not exist."""
        try:
            return b"".join(self._volume.read_file(path))
        except Exception as error:
            if _is_missing(error):
                return None
            raise


def _is_missing(error: BaseException) -> bool:
    """Whether a file or an object does not exist, or a file was removed between its address and its content."""
    from modal.exception import ExecutionError, NotFoundError

    gone = isinstance(error, FileNotFoundError | NotFoundError)
    return gone or (isinstance(error, ExecutionError) and "404" in str(error))
