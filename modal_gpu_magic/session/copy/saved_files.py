"""The files that a session's Volume has of an ended container, as a source for `get` and `ls`. Starts no container."""

from __future__ import annotations

import asyncio
import posixpath
import time
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import CopyError, DamagedError
from modal_gpu_magic.sdk.faults import translate
from modal_gpu_magic.wire.buffers.hashing import new_hash
from modal_gpu_magic.wire.messages.events import RemoteFile
from modal_gpu_magic.wire.saved.places import BUFFERS, state_directory
from modal_gpu_magic.wire.saved.reading import DAMAGED, MISSING, SavedState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from modal_gpu_magic.plan.copy.places import Place
    from modal_gpu_magic.sdk.session_volume import VolumeFiles
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.wire.saved.manifest import SavedFile

NAMED: Final = 5
"""Most files that an error names."""
SECOND: Final = 1_000_000_000


class SavedFiles:
    """The working directory of a container that has ended, as it was saved last."""

    def __init__(self, volume: VolumeFiles, session: str, state: SavedState) -> None:
        self._volume, self._session, self._state = volume, session, state
        place = state.manifest.place or "."
        self._saved = {posixpath.relpath(each.path, place): each for each in state.manifest.files}

    @classmethod
    async def open(cls, session: Session) -> SavedFiles | None:
        """Return the saved files that the session's next container restores; None: that restores nothing.

        Raises:
            ModalGpuError: the Volume cannot be read.
        """
        volume = session.app.saved_files if session.app is not None else None
        if volume is None:
            return None
        try:
            state = await asyncio.to_thread(SavedState.open, volume.read, session.name)
        except DamagedError:
            return None
        except Exception as error:
            raise translate(error) from error
        if state is None or not (session.restores_any or state.generation == session.generation):
            return None
        return cls(volume, session.name, state)

    @property
    def note(self) -> str:
        """Which state of the files this is."""
        when = time.strftime("%H:%M:%S", time.localtime(self._state.saved_at))
        return f"the container of session {self._session} has ended; its files are as its Volume has them since {when}"

    async def files(self, path: str) -> dict[str, RemoteFile]:
        """The file at a path, or all files below the path, by path."""
        below = "" if path in ("", ".") else f"{path}/"
        found = [(name, each) for name, each in sorted(self._saved.items()) if name == path or name.startswith(below)]
        inside = [(name, each) for name, each in found if path or not name.startswith("../")]
        return {name: RemoteFile(name, each.nbytes, each.changed // SECOND) for name, each in inside}

    async def read(self, file: RemoteFile) -> AsyncIterator[bytes]:
        """Yield the content of a file in chunks.

        Raises:
            CopyError: the Volume has the file no more, or damaged.
        """
        chunks = self._chunks(self._saved[file.path])
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk

    def _chunks(self, file: SavedFile) -> Iterator[bytes]:
        digest = new_hash()
        found = self._volume.chunks(f"{state_directory(self._session)}/{BUFFERS}/{file.key}")
        if found is None:
            raise CopyError(f"{file.path} cannot be read: {MISSING}.")
        for chunk in found:
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != file.key:
            raise CopyError(f"{file.path} cannot be read: {DAMAGED}.")

    async def no_path(self, place: Place) -> str:
        """The error message for a path that does not exist."""
        manifest = self._state.manifest
        path = posixpath.normpath(posixpath.join(manifest.place, place.path))
        if path in manifest.unsaved:
            return f"{place.path} was not saved ({manifest.unsaved[path]}), and {self.note}; run its cell again."
        near = nearest(place.name, [each.rpartition("/")[2] for each in self._saved])
        names = ", ".join(sorted(self._saved)[:NAMED])
        meant = f"did you mean {either(near)}?" if near else f"these are {names}." if names else "these are none."
        return f"there is no {place.path or 'file'} among the saved files ({self.note}); {meant}"
