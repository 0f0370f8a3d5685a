"""The files in a session's container, as a source for `get` and `ls`. Never starts a container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import ContainerLost, CopyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modal_gpu_magic.plan.copy.places import Place
    from modal_gpu_magic.sdk.app import OpenApp
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.wire.messages.events import RemoteFile

CHUNK_BYTES = 8 << 20
"""Maximum size of one read request, bytes."""


class SessionFiles:
    """The working directory of a session's container."""

    def __init__(self, app: OpenApp, session: str, generation: str) -> None:
        self._app, self._session, self._generation = app, session, generation

    @classmethod
    async def open(cls, session: Session) -> SessionFiles:
        """The files of a session's running container.

        Raises:
            CopyError: the session has no running container.
        """
        app = session.app
        if app is None or session.generation is None or not await asyncio.to_thread(app.is_warm, session.name):
            raise _has_ended(session.name)
        return cls(app, session.name, session.generation)

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
            return self._app.listed(self._session, self._generation, path)
        except ContainerLost as error:  # the container ended before Modal reported its end
            raise _has_ended(self._session) from error

    def _part(self, path: str, offset: int) -> bytes:
        try:
            return self._app.part(self._session, self._generation, path, offset, CHUNK_BYTES)
        except ContainerLost as error:
            raise _has_ended(self._session) from error
        except OSError as error:
            raise CopyError(f"{path} cannot be read in the container: {error}.") from error

    async def no_path(self, place: Place) -> str:
        """The error message for a path that does not exist, with similar names."""
        beside = await self.files(place.above.path)
        near = nearest(place.name, [each.rpartition("/")[2] for each in beside])
        meant = f"did you mean {either(near)}?" if near else "a cell's receipt names the files that it wrote."
        return f"there is no {place.path or 'file'} in the session's working directory; {meant}"


def _has_ended(session: str) -> CopyError:
    return CopyError(
        f"the container of session {session} has ended, and its files are lost. Run the cell again; write files to "
        "keep to a Volume (--volume NAME:/path)."
    )
