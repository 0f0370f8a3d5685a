"""Volumes: a directory each, named ones kept in the user's data directory. What is written is there at once.

A volume of version 1 has an empty file `.NAME.v1` beside it; without one it is of version 2, which is also what a
request that names no version makes: it sends large files in parts, unchanged ones not at all.
"""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Exists, Invalid, NotFound, found
from modal_gpu_magic.control_plane.scheduling.state import Container, State, Volume, new_id

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}")

_CREATES = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
)


def volumes_directory() -> Path:
    """Where named volumes are."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base, "modal_gpu_magic", "volumes")


class Volumes:
    """RPCs of volumes, less their files (those are read and written in containers)."""

    def __init__(self, state: State, ephemeral: Path) -> None:
        self._state, self._ephemeral = state, ephemeral

    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.VolumeGetOrCreateResponse:
        """By name, or an ephemeral one that ends with this server."""
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
        """`Volume.from_id`."""
        volume = self._volume(request.volume_id)
        return known(api_pb2.VolumeGetByIdResponse, volume_id=volume.id, metadata=volume_metadata(volume))

    async def VolumeList(
        self, request: api_pb2.VolumeListRequest, peer: Container | None
    ) -> api_pb2.VolumeListResponse:
        """The named ones, newest first, those made before a time."""
        names = [path.name for path in volumes_directory().glob("*") if path.is_dir() and _NAME.fullmatch(path.name)]
        volumes = [self._named(name) for name in names if not name.startswith(".")]
        before, most = request.pagination.created_before, request.pagination.max_objects
        old = [volume for volume in volumes if not before or volume.created_at < before]
        newest = sorted(old, key=lambda volume: volume.created_at, reverse=True)
        items = [
            known(
                api_pb2.VolumeListItem,
                label=volume.name,
                volume_id=volume.id,
                created_at=volume.created_at,
                metadata=volume_metadata(volume),
            )
            for volume in newest[: most or None]
        ]
        return known(api_pb2.VolumeListResponse, items=items, environment_name="main")

    async def VolumeHeartbeat(self, request: api_pb2.VolumeHeartbeatRequest, peer: Container | None) -> Empty:
        """Nothing hangs on it: ephemeral volumes end with this server."""
        return Empty()

    async def VolumeCommit(
        self, request: api_pb2.VolumeCommitRequest, peer: Container | None
    ) -> api_pb2.VolumeCommitResponse:
        """Everything is in the directory already."""
        self._volume(request.volume_id)
        return known(api_pb2.VolumeCommitResponse, skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest, peer: Container | None) -> Empty:
        """Everybody sees the same directory."""
        self._volume(request.volume_id)
        return Empty()

    async def VolumeDelete(self, request: api_pb2.VolumeDeleteRequest, peer: Container | None) -> Empty:
        """Remove the directory with its files."""
        volume = self._volume(request.volume_id)
        del self._state.volumes[volume.id]
        shutil.rmtree(volume.path, ignore_errors=True)
        _marker(volume.path).unlink(missing_ok=True)
        return Empty()

    def _volume(self, volume_id: str) -> Volume:
        return found(self._state.volumes, volume_id, "volume")

    def _named(self, name: str, creation: int = api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED, version: int = 0) -> Volume:
        """The volume with this name: known already, on disk from before, or made if the request says so."""
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise Invalid(f"{name!r} is no name for a volume: letters, digits, '.', '_' and '-', at most 64.")
        path = volumes_directory() / name
        exists = path.is_dir()
        if exists and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise Exists(f"Volume {name!r} exists already: {path}.")
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
        path.mkdir(parents=True, mode=0o700)
        return self._keep(Volume(volume_id, "", path, version))

    def _keep(self, volume: Volume) -> Volume:
        self._state.volumes[volume.id] = volume
        return volume


def _on_disk(name: str, path: Path, version: int, *, made: bool) -> Volume:
    """A named volume as its directory and marker say; `made` makes them."""
    if made:
        path.mkdir(parents=True)
        if version == api_pb2.VOLUME_FS_VERSION_V1:
            _marker(path).touch()
    first = _marker(path).exists()
    kept = api_pb2.VOLUME_FS_VERSION_V1 if first else api_pb2.VOLUME_FS_VERSION_V2
    return Volume(new_id("vo"), name, path, kept, path.stat().st_ctime)


def _marker(path: Path) -> Path:
    """The file that says version 1."""
    return path.with_name(f".{path.name}.v1")


def volume_metadata(volume: Volume) -> api_pb2.VolumeMetadata:
    """What the SDK knows of a volume."""
    creation = known(api_pb2.CreationInfo, created_at=volume.created_at)
    return known(api_pb2.VolumeMetadata, version=volume.version, name=volume.name, creation_info=creation)
