"""Volumes: a directory each, named ones kept in the user's data directory. What is written is there at once."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Conflict, Invalid, NotFound, found
from modal_gpu_magic.control_plane.state import Container, State, Volume, new_id

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
        name = request.deployment_name
        volume = self._named(name, request.object_creation_type) if name else self._new(new_id("vo"))
        return known(
            api_pb2.VolumeGetOrCreateResponse,
            volume_id=volume.id,
            version=api_pb2.VOLUME_FS_VERSION_V2,
            metadata=volume_metadata(volume),
        )

    async def VolumeGetById(
        self, request: api_pb2.VolumeGetByIdRequest, peer: Container | None
    ) -> api_pb2.VolumeGetByIdResponse:
        """`Volume.from_id`."""
        volume = self._volume(request.volume_id)
        return known(api_pb2.VolumeGetByIdResponse, volume_id=volume.id, metadata=volume_metadata(volume))

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
        return Empty()

    def _volume(self, volume_id: str) -> Volume:
        return found(self._state.volumes, volume_id, "volume")

    def _named(self, name: str, creation: int) -> Volume:
        """The volume with this name: known already, on disk from before, or made if the request says so."""
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise Invalid(f"{name!r} is no name for a volume: letters, digits, '.', '_' and '-', at most 64.")
        path = volumes_directory() / name
        exists = path.is_dir()
        if exists and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise Conflict(f"Volume {name!r} exists already: {path}.")
        if not exists and creation not in _CREATES:
            raise NotFound(
                f"The local backend has no volume named {name!r}; create it with create_if_missing=True. "
                f"Local volumes are directories in {volumes_directory()}."
            )
        known_volume = next((each for each in self._state.volumes.values() if each.name == name), None)
        path.mkdir(parents=True, exist_ok=True)
        return known_volume or self._keep(Volume(new_id("vo"), name, path))

    def _new(self, volume_id: str) -> Volume:
        path = self._ephemeral / volume_id
        path.mkdir(parents=True, mode=0o700)
        return self._keep(Volume(volume_id, "", path))

    def _keep(self, volume: Volume) -> Volume:
        self._state.volumes[volume.id] = volume
        return volume


def volume_metadata(volume: Volume) -> api_pb2.VolumeMetadata:
    """What the SDK knows of a volume."""
    return known(api_pb2.VolumeMetadata, version=api_pb2.VOLUME_FS_VERSION_V2, name=volume.name)
