"""Dicts: keys and values as pickled by the SDK. Named dicts exist until this server stops."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.fields import object_name
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Exists, Full, Invalid, NotFound, found, page
from modal_gpu_magic.control_plane.scheduling.state import Container, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VALUE_BYTES = 100 << 20
"""Most bytes of a value, as on Modal."""

UPDATE_ENTRIES = 10_000
"""Most entries in one update, as on Modal."""

MAX_BYTES = 1 << 30
"""Most bytes of a dict's values, which are in memory. Modal stores values on disk."""

_CREATES = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
)


@dataclass(slots=True)
class Dict:
    """Entries, in the order in which their keys were first set."""

    id: str
    name: str
    entries: dict[bytes, bytes] = field(default_factory=dict)
    size: int = 0
    created_at: float = field(default_factory=time.time)

    def update(self, updates: dict[bytes, bytes]) -> None:
        """Set all entries or none; raise Invalid or Full beyond a limit."""
        if len(updates) > UPDATE_ENTRIES:
            raise Invalid(f"An update may have at most {UPDATE_ENTRIES} entries; this one has {len(updates)}.")
        if (largest := max(map(len, updates.values()), default=0)) > VALUE_BYTES:
            raise Invalid(f"A value in a Dict may have at most {VALUE_BYTES} bytes; this one has {largest}.")
        size = self.size + sum(len(value) - len(self.entries.get(key, b"")) for key, value in updates.items())
        if size > MAX_BYTES:
            raise Full(f"A local Dict may hold at most {MAX_BYTES >> 30} GiB; use a Volume.")
        self.entries.update(updates)
        self.size = size

    def pop(self, key: bytes) -> bytes | None:
        """Remove and return a value; None if missing."""
        value = self.entries.pop(key, None)
        self.size -= len(value or b"")
        return value

    def clear(self) -> None:
        """Remove all entries."""
        self.entries.clear()
        self.size = 0


class Dicts:
    """RPCs of dicts."""

    def __init__(self) -> None:
        self._dicts: dict[str, Dict] = {}

    async def DictGetOrCreate(
        self, request: api_pb2.DictGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.DictGetOrCreateResponse:
        """Return a dict by name, or create one."""
        name, creation = request.deployment_name, request.object_creation_type
        named = next((each for each in self._dicts.values() if name and each.name == name), None)
        if named and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise Exists(f"Dict {name!r} already exists.")
        if name and not named and creation not in _CREATES:
            raise NotFound(f"Dict {name!r} does not exist on the local backend; create it with create_if_missing=True.")
        made = named or Dict(new_id("di"), object_name(name, "A dict") if name else "")
        self._dicts[made.id] = made
        if named is None:
            made.update({entry.key: entry.value for entry in request.data})
        return known(api_pb2.DictGetOrCreateResponse, dict_id=made.id, metadata=_metadata(made))

    async def DictGetById(
        self, request: api_pb2.DictGetByIdRequest, peer: Container | None
    ) -> api_pb2.DictGetByIdResponse:
        """Return a dict for `Dict.from_id`."""
        one = self._dict(request.dict_id)
        return known(api_pb2.DictGetByIdResponse, dict_id=one.id, metadata=_metadata(one))

    async def DictList(self, request: api_pb2.DictListRequest, peer: Container | None) -> api_pb2.DictListResponse:
        """Return the named dicts created before a time, newest first."""
        dicts = [
            known(
                api_pb2.DictListResponse.DictInfo,
                name=one.name,
                created_at=one.created_at,
                dict_id=one.id,
                metadata=_metadata(one),
            )
            for one in page((each for each in self._dicts.values() if each.name), request.pagination)
        ]
        return known(api_pb2.DictListResponse, dicts=dicts, environment_name="main")

    async def DictHeartbeat(self, request: api_pb2.DictHeartbeatRequest, peer: Container | None) -> Empty:
        """Do nothing: dicts exist until this server stops."""
        self._dict(request.dict_id)
        return Empty()

    async def DictGet(self, request: api_pb2.DictGetRequest, peer: Container | None) -> api_pb2.DictGetResponse:
        """Return a value."""
        value = self._dict(request.dict_id).entries.get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def DictUpdate(
        self, request: api_pb2.DictUpdateRequest, peer: Container | None
    ) -> api_pb2.DictUpdateResponse:
        """Set values; with `if_not_exists`, only of missing keys."""
        one = self._dict(request.dict_id)
        updates = {entry.key: entry.value for entry in request.updates}
        if request.if_not_exists:
            updates = {key: value for key, value in updates.items() if key not in one.entries}
        one.update(updates)
        return known(api_pb2.DictUpdateResponse, created=bool(updates))

    async def DictPop(self, request: api_pb2.DictPopRequest, peer: Container | None) -> api_pb2.DictPopResponse:
        """Remove and return a value."""
        value = self._dict(request.dict_id).pop(request.key)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def DictContains(
        self, request: api_pb2.DictContainsRequest, peer: Container | None
    ) -> api_pb2.DictContainsResponse:
        """Return whether a key exists."""
        return api_pb2.DictContainsResponse(found=request.key in self._dict(request.dict_id).entries)

    async def DictLen(self, request: api_pb2.DictLenRequest, peer: Container | None) -> api_pb2.DictLenResponse:
        """Return the number of entries."""
        return api_pb2.DictLenResponse(len=len(self._dict(request.dict_id).entries))

    async def DictContents(
        self, request: api_pb2.DictContentsRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.DictEntry]:
        """Yield the current keys, values or both."""
        for key, value in list(self._dict(request.dict_id).entries.items()):
            yield api_pb2.DictEntry(key=key if request.keys else b"", value=value if request.values else b"")

    async def DictClear(self, request: api_pb2.DictClearRequest, peer: Container | None) -> Empty:
        """Remove all entries."""
        self._dict(request.dict_id).clear()
        return Empty()

    async def DictDelete(self, request: api_pb2.DictDeleteRequest, peer: Container | None) -> Empty:
        """Remove the dict."""
        self._dicts.pop(request.dict_id, None)
        return Empty()

    def _dict(self, dict_id: str) -> Dict:
        return found(self._dicts, dict_id, "dict")


def _metadata(one: Dict) -> api_pb2.DictMetadata:
    creation = known(api_pb2.CreationInfo, created_at=one.created_at)
    return known(api_pb2.DictMetadata, name=one.name, creation_info=creation)
