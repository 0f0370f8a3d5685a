"""Volumes: one directory each; named ones are in the user's data directory. Writes are visible at once.

A volume of version 1 has an empty file `.NAME.v1` beside its directory; other volumes have version 2, the default,
which sends large files in parts and unchanged files not at all.
"""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.files.tree import make_private_directories
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, Exists, Invalid, NotFound, found, page
from modal_gpu_magic.control_plane.scheduling.state import App, Container, State, Volume, new_id

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}")

_CREATES = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
)

EXIT_SECONDS = 15.0
"""Seconds that the deletion of a volume waits for the containers of a stopped app, which have 10 s for their end."""


def volumes_directory() -> Path:
    """Return the directory of named volumes."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base, "modal_gpu_magic", "volumes")


class Volumes:
    """RPCs of volumes, without those of their files."""

    def __init__(self, state: State, ephemeral: Path) -> None:
        self._state, self._ephemeral = state, ephemeral

    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.VolumeGetOrCreateResponse:
        """Return a volume by name, or an ephemeral one, which exists until this server stops."""
        name, version = request.deployment_name, request.version or api_pb2.VOLUME_FS_VERSION_V2
        volume = self._named(name, request.object_creation_type, version) if name else self._new(version)
        return known(
            api_pb2.VolumeGetOrCreateResponse,
            volume_id=volume.id,
            version=volume.version,
            metadata=volume_metadata(volume),
        )

    async def VolumeGetById(
        self, request: api_pb2.VolumeGetByIdRequest, peer: Container | None
    ) -> api_pb2.VolumeGetByIdResponse:
        """Return a volume for `Volume.from_id`."""
        volume = self._volume(request.volume_id)
        return known(api_pb2.VolumeGetByIdResponse, volume_id=volume.id, metadata=volume_metadata(volume))

    async def VolumeList(
        self, request: api_pb2.VolumeListRequest, peer: Container | None
    ) -> api_pb2.VolumeListResponse:
        """Return the named volumes created before a time, newest first."""
        names = [path.name for path in volumes_directory().glob("*") if path.is_dir() and _NAME.fullmatch(path.name)]
        volumes = [self._named(name) for name in names if not name.startswith(".")]
        items = [
            known(
                api_pb2.VolumeListItem,
                label=volume.name,
                volume_id=volume.id,
                created_at=volume.created_at,
                metadata=volume_metadata(volume),
            )
            for volume in page(volumes, request.pagination)
        ]
        return known(api_pb2.VolumeListResponse, items=items, environment_name="main")

    async def VolumeHeartbeat(self, request: api_pb2.VolumeHeartbeatRequest, peer: Container | None) -> Empty:
        """Do nothing: ephemeral volumes exist until this server stops."""
        return Empty()

    async def VolumeCommit(
        self, request: api_pb2.VolumeCommitRequest, peer: Container | None
    ) -> api_pb2.VolumeCommitResponse:
        """Do nothing: writes are already in the directory."""
        self._volume(request.volume_id)
        return known(api_pb2.VolumeCommitResponse, skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest, peer: Container | None) -> Empty:
        """Do nothing: all containers share the directory."""
        self._volume(request.volume_id)
        return Empty()

    async def VolumeDelete(self, request: api_pb2.VolumeDeleteRequest, peer: Container | None) -> Empty:
        """Remove the directory, after the containers of a stopped app have ended: an `@exit` hook may write there."""
        volume = self._volume(request.volume_id)
        end = time.monotonic() + EXIT_SECONDS
        while (left := end - time.monotonic()) > 0 and (app := self._ending_app(volume)):
            await app.log.broadcast.wait(left)
        self._volume(volume.id)  # another request may have deleted it meanwhile
        del self._state.volumes[volume.id]
        shutil.rmtree(volume.path, ignore_errors=True)
        _marker(volume.path).unlink(missing_ok=True)
        return Empty()

    async def VolumeRename(self, request: api_pb2.VolumeRenameRequest, peer: Container | None) -> Empty:
        """Give a named volume another name: its directory moves. A container that has the volume would lose it."""
        volume = self._volume(request.volume_id)
        if not volume.name:
            raise Invalid("An ephemeral volume has no name to change.")
        path = volumes_directory() / _checked(request.name)
        if path.exists():
            raise Exists(f"Volume {request.name!r} already exists: {path}.")
        if any(volume.path.samefile(each) for each in self._mounted()):
            raise Conflict(f"Volume {volume.name!r} is in use by a container; stop its app, then rename the volume.")
        volume.path.rename(path)
        if _marker(volume.path).exists():
            _marker(volume.path).rename(_marker(path))
        self._state.volumes[volume.id] = dataclasses.replace(volume, name=request.name, path=path)
        return Empty()

    def _ending_app(self, volume: Volume) -> App | None:
        """Return a stopped app of which a container that has the volume still runs."""
        for container in self._state.containers():
            mounts = container.function.definition.volume_mounts
            if container.function.app.stopped and any(mount.volume_id == volume.id for mount in mounts):
                return container.function.app
        return None

    def _mounted(self) -> list[Path]:
        """Return the directories of volumes that containers have."""
        mounts = [mount for each in self._state.containers() for mount in each.function.definition.volume_mounts]
        volumes = [self._state.volumes.get(mount.volume_id) for mount in mounts]
        return [volume.path for volume in volumes if volume is not None and volume.path.exists()]

    def _volume(self, volume_id: str) -> Volume:
        return found(self._state.volumes, volume_id, "volume")

    def _named(self, name: str, creation: int = api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED, version: int = 0) -> Volume:
        """Return a named volume: known, existing on disk, or created if the request says so."""
        path = volumes_directory() / _checked(name)
        exists = path.is_dir()
        if exists and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise Exists(f"Volume {name!r} already exists: {path}.")
        if not exists and creation not in _CREATES:
            raise NotFound(
                f"The local backend has no volume named {name!r}; create it with create_if_missing=True. "
                f"Local volumes are directories in {volumes_directory()}."
            )
        known_volume = next((each for each in self._state.volumes.values() if each.name == name), None)
        return known_volume if known_volume and exists else self._keep(_on_disk(name, path, version, made=not exists))

    def _new(self, version: int) -> Volume:
        volume_id = new_id("vo")
        path = self._ephemeral / volume_id
        make_private_directories(path)
        return self._keep(Volume(volume_id, "", path, version))

    def _keep(self, volume: Volume) -> Volume:
        self._state.volumes[volume.id] = volume
        return volume


def _checked(name: str) -> str:
    """Return a volume's name, which is that of a directory; raise Invalid for another text."""
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise Invalid(f"{name!r} is not a valid volume name: use 1 to 64 letters, digits, '.', '_' and '-'.")
    return name


def _on_disk(name: str, path: Path, version: int, *, made: bool) -> Volume:
    """Return a named volume by its directory and marker; `made` creates them."""
    if made:
        make_private_directories(path)
        if version == api_pb2.VOLUME_FS_VERSION_V1:
            _marker(path).touch()
    first = _marker(path).exists()
    kept = api_pb2.VOLUME_FS_VERSION_V1 if first else api_pb2.VOLUME_FS_VERSION_V2
    created_at = time.time() if made else path.stat().st_ctime  # a file system's clock may tick every few milliseconds
    return Volume(new_id("vo"), name, path, kept, created_at)


def _marker(path: Path) -> Path:
    """Return the path of the file that marks version 1."""
    return path.with_name(f".{path.name}.v1")


def volume_metadata(volume: Volume) -> api_pb2.VolumeMetadata:
    """Return the SDK's metadata of a volume."""
    creation = known(api_pb2.CreationInfo, created_at=volume.created_at)
    return known(api_pb2.VolumeMetadata, version=volume.version, name=volume.name, creation_info=creation)
