"""The files in a session's container, as a source for `get` and `ls`. Never starts a container.

Once the container has ended, the session's Volume has the files that were saved (`saved_files`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import ContainerLost, CopyError
from modal_gpu_magic.session.copy.saved_files import SavedFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modal_gpu_magic.plan.copy.places import Place
    from modal_gpu_magic.sdk.app import OpenApp
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.wire.messages.events import RemoteFile

GONE = (
    "the container of session {} has ended, and its files are lost.{} Run the cell again; write files to keep to a "
    "Volume (--volume NAME:/path)."
)
MEANWHILE = "the container of session {} has ended meanwhile: repeat the line, which reads the files that were saved."
CHUNK_BYTES = 8 << 20
"""Maximum size of one read request, bytes."""


class SessionFiles:
    """The working directory of a session's container."""

    note = ""
    """What is to be known of the files; empty: nothing."""

    def __init__(self, app: OpenApp, generation: str) -> None:
        self._app, self._generation = app, generation

    @classmethod
    async def open(cls, session: Session) -> SessionFiles | SavedFiles:
        """The files of a session's running container; once that has ended, those that its Volume has.

        Raises:
            CopyError: the session has no running container, and no saved files.
        """
        app = session.app
        if app is not None and session.generation is not None and await asyncio.to_thread(app.is_warm):
            return cls(app, session.generation)
        saved = await SavedFiles.open(session)
        if saved is None:
            why = "" if session.machine.saves else " The session saves nothing (--save 0)."
            raise CopyError(GONE.format(session.name, why))
        return saved

    async def files(self, path: str) -> dict[str, RemoteFile]:
        """The file at a path, or all files below the path, by path."""
        found = await asyncio.to_thread(self._listed, path)
        return {each.path: each for each in found}

    async def read(self, file: RemoteFile) -> AsyncIterator[bytes]:
        """Yield the content of a file in chunks."""
        for offset in range(0, file.nbytes, CHUNK_BYTES):
            yield await asyncio.to_thread(self._part, file.path, offset)

    def _listed(self, path: str) -> tuple[RemoteFile, ...]:
        try:
            return self._app.listed(self._generation, path)
        except ContainerLost as error:  # the container ended before Modal reported its end
            raise self._has_ended from error

    def _part(self, path: str, offset: int) -> bytes:
        try:
            return self._app.part(self._generation, path, offset, CHUNK_BYTES)
        except ContainerLost as error:
            raise self._has_ended from error
        except OSError as error:
            raise CopyError(f"{path} cannot be read in the container: {error}.") from error

    @property
    def _has_ended(self) -> CopyError:
        """The error of a container that ended meanwhile."""
        if self._app.machine.saves:
            return CopyError(MEANWHILE.format(self._app.session))
        return CopyError(GONE.format(self._app.session, ""))

    async def no_path(self, place: Place) -> str:
        """The error message for a path that does not exist, with similar names."""
        beside = await self.files(place.above.path)
        near = nearest(place.name, [each.rpartition("/")[2] for each in beside])
        meant = f"did you mean {either(near)}?" if near else "a cell's receipt names the files that it wrote."
        return f"there is no {place.path or 'file'} in the session's working directory; {meant}"
