"""List, read and put files of Volumes from the notebook, through the public SDK. Asynchronous throughout."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import CopyError, MachineError
from modal_gpu_magic.sdk.faults import translate
from modal_gpu_magic.wire.messages.events import RemoteFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from modal_gpu_magic.plan.copy.places import Place
    from modal_gpu_magic.sdk.client import Backend


Kind = Literal["file", "folder", "other"]
"""Kind of an entry; `other` are links and the like, which are not copied."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a Volume at a path."""

    kind: Kind
    file: RemoteFile


class VolumeFiles:
    """The files of one Volume.

    Attributes:
        key: identifies the Volume in the notebook's records.
        same_clock: whether the Volume's times come from this machine's clock.
    """

    note = ""
    """See `session.copy.get.Source`."""

    def __init__(self, volume: Any, key: str, *, same_clock: bool) -> None:
        self._volume, self.key, self.same_clock = volume, key, same_clock

    @classmethod
    async def open(cls, backend: Backend, name: str, *, create: bool) -> VolumeFiles:
        """Open the Volume with this name.

        Raises:
            CopyError: no such Volume exists, and `create` is false; the message names similar Volumes.
            ModalGpuError: the backend refused the Volume, or has ended.
        """
        import modal
        from modal.exception import NotFoundError

        volume: Any = modal.Volume.from_name(name, create_if_missing=create)
        try:
            await volume.hydrate.aio(backend.client)
        except NotFoundError:
            raise CopyError(await _no_volume(backend, name)) from None
        except Exception as error:
            raise _translated(error) from error
        local = backend.kind == "local"
        return cls(volume, f"{backend.kind}-{name if local else volume.object_id}", same_clock=local)

    async def entries(self, path: str, *, recursive: bool) -> list[Entry] | None:
        """Return the file at a path, or the entries of a folder; None: the path does not exist."""
        from modal.exception import NotFoundError

        try:
            found = await self._volume.listdir.aio(f"/{path}", recursive=recursive)
        except (NotFoundError, FileNotFoundError):
            return None
        except Exception as error:
            raise _translated(error) from error
        kinds: dict[Any, Kind] = {"FILE": "file", "DIRECTORY": "folder"}
        return [
            Entry(kinds.get(each.type.name, "other"), RemoteFile(each.path.strip("/"), each.size, int(each.mtime)))
            for each in found
        ]

    async def files(self, path: str) -> dict[str, RemoteFile]:
        """Return the file at a path, or all files below it, by path; empty: no file."""
        found = await self.entries(path, recursive=True) or []
        return {each.file.path: each.file for each in found if each.kind == "file"}

    async def read(self, file: RemoteFile) -> AsyncIterator[bytes]:
        """Yield the content of a file in pieces."""
        try:
            async for piece in self._volume.read_file.aio(f"/{file.path}"):
                yield piece
        except FileNotFoundError:
            raise CopyError(f"{file.path} was removed while it was read.") from None
        except Exception as error:
            raise _translated(error) from error

    async def put(self, files: Mapping[str, Path]) -> None:
        """Put local files at paths of the Volume, replacing existing files. Content that Modal has is not resent."""
        try:
            async with self._volume.batch_upload(force=True) as batch:
                for path, local in files.items():
                    batch.put_file(local, f"/{path}")
        except OSError as error:
            raise CopyError(f"this cannot be put: {str(error).rstrip('.')}.") from error
        except Exception as error:
            raise _translated(error) from error

    async def no_path(self, place: Place) -> str:
        """Return the sentence for a path that does not exist, with similar paths."""
        siblings = await self.entries(place.above.path, recursive=False) or []
        near = nearest(place.name, [each.file.path.rpartition("/")[2] for each in siblings])
        meant = f"did you mean {either([str(place.above.below(each)) for each in near])}?" if near else None
        return f"{place} does not exist; {meant or f'`%modal_gpu ls {place.volume}` lists its files.'}"


def _translated(error: Exception) -> BaseException:
    """Translate an error of Modal; a refusal concerns the copy, not a machine."""
    translated = translate(error)
    return CopyError(f"Modal refused it: {error}") if isinstance(translated, MachineError) else translated


async def names(backend: Backend) -> list[str]:
    """Return the names of all Volumes, newest first."""
    import modal

    try:
        return [str(volume.name) for volume in await modal.Volume.objects.list.aio(client=backend.client)]
    except Exception as error:
        raise _translated(error) from error


async def _no_volume(backend: Backend, name: str) -> str:
    known: list[str] = []
    with suppress(Exception):  # without names, the message has no hint
        known = await names(backend)
    near = nearest(name, known)
    meant = f"did you mean {either(near)}?" if near else f"Volumes: {', '.join(known[:10]) or 'none yet'}."
    return f"No Volume is called {name!r}; {meant} `%modal_gpu put` creates one."
