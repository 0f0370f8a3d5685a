"""Queues with Modal's limits: 5,000 items and 64 MiB per partition, 1 MiB per item."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, QUEUE_ITEMS, QUEUE_PARTITION_BYTES
from modal_gpu_magic.control_plane.fields import object_name
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Exists, Full, Invalid, NotFound, count, entry, found, page, seconds
from modal_gpu_magic.control_plane.scheduling.broadcast import Broadcast
from modal_gpu_magic.control_plane.scheduling.state import Container, new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

EPHEMERAL_LIMIT = 900.0
"""Seconds without a heartbeat after which an ephemeral queue is removed. The SDK sends one every 300 s."""

CREATES = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS,
)

LISTED_SIZE = 100_000
"""Most items of a queue that a list counts, where the client names no limit."""


@dataclass(slots=True)
class Partition:
    """A first-in, first-out list. Items are numbered, so that a reader that does not remove them can resume."""

    items: deque[tuple[int, bytes]] = field(default_factory=deque)
    size: int = 0
    count: int = 0
    broadcast: Broadcast = field(default_factory=Broadcast)
    readers: int = 0
    """Requests that wait for an item of it."""

    def put(self, values: list[bytes]) -> None:
        """Add all of `values` or none; raise Full, or Invalid for an item above the limit."""
        size = sum(map(len, values))
        largest = max(map(len, values), default=0)
        if largest > QUEUE_ITEM_BYTES:
            raise Invalid(f"A queue item may have {QUEUE_ITEM_BYTES} bytes; this one has {largest}.")
        if len(self.items) + len(values) > QUEUE_ITEMS:
            raise Full(f"The queue partition is full ({QUEUE_ITEMS} items).")
        if self.size + size > QUEUE_PARTITION_BYTES:
            raise Full(f"The queue partition is full ({QUEUE_PARTITION_BYTES >> 20} MiB).")
        for value in values:
            self.count += 1
            self.items.append((self.count, value))
        self.size += size
        self.broadcast.notify()

    def take(self, most: int) -> list[bytes]:
        """Remove and return up to `most` items."""
        taken = [self.items.popleft()[1] for _ in range(min(most, len(self.items)))]
        self.size -= sum(map(len, taken))
        return taken

    def clear(self) -> None:
        """Remove all items."""
        self.items.clear()
        self.size = 0


@dataclass(slots=True)
class Queue:
    """Partitions by key; the default partition has the empty key."""

    id: str
    name: str
    partitions: dict[bytes, Partition] = field(default_factory=dict)
    heartbeat_at: float = field(default_factory=time.monotonic)
    created_at: float = field(default_factory=time.time)
    count: int = 0
    """The highest number of an item in the partitions dropped so far: a new one numbers its items from there."""

    @contextlib.contextmanager
    def partition(self, key: bytes) -> Iterator[Partition]:
        """Yield a partition: created on first use, deleted when it is empty and no request waits for an item."""
        partition = self.partitions.get(key) or self.partitions.setdefault(key, Partition(count=self.count))
        partition.readers += 1
        try:
            yield partition
        finally:
            partition.readers -= 1
            if not partition.readers and not partition.items:
                self.count = max(self.count, partition.count)
                self.partitions.pop(key, None)


class Queues:
    """RPCs of queues."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}

    async def QueueGetOrCreate(
        self, request: api_pb2.QueueGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.QueueGetOrCreateResponse:
        """Return a queue by name, or create one; unnamed queues last as long as their client's heartbeats."""
        self._drop_stale()
        name, creation = request.deployment_name, request.object_creation_type
        queue = next((each for each in self._queues.values() if name and each.name == name), None)
        if queue and creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise Exists(f"Queue {name!r} already exists.")
        if queue is None:
            if name and creation not in CREATES:
                raise NotFound(
                    f"Queue {name!r} does not exist on the local backend; create it with create_if_missing=True."
                )
            queue = Queue(new_id("qu"), object_name(name, "A queue") if name else "")
            self._queues[queue.id] = queue
        return known(api_pb2.QueueGetOrCreateResponse, queue_id=queue.id, metadata=_metadata(queue))

    async def QueueGetById(
        self, request: api_pb2.QueueGetByIdRequest, peer: Container | None
    ) -> api_pb2.QueueGetByIdResponse:
        """Return a queue for `Queue.from_id`."""
        queue = self._queue(request.queue_id)
        return known(api_pb2.QueueGetByIdResponse, queue_id=queue.id, metadata=_metadata(queue))

    async def QueueList(self, request: api_pb2.QueueListRequest, peer: Container | None) -> api_pb2.QueueListResponse:
        """Return the named queues created before a time, newest first."""
        most = request.total_size_limit or LISTED_SIZE
        queues = [
            known(
                api_pb2.QueueListResponse.QueueInfo,
                name=queue.name,
                created_at=queue.created_at,
                num_partitions=len(queue.partitions),
                total_size=min(most, sum(len(each.items) for each in queue.partitions.values())),
                queue_id=queue.id,
                metadata=_metadata(queue),
            )
            for queue in page((each for each in self._queues.values() if each.name), request.pagination)
        ]
        return known(api_pb2.QueueListResponse, queues=queues, environment_name="main")

    async def QueueHeartbeat(self, request: api_pb2.QueueHeartbeatRequest, peer: Container | None) -> Empty:
        """Record that the queue's client is alive."""
        self._queue(request.queue_id).heartbeat_at = time.monotonic()
        return Empty()

    async def QueuePut(self, request: api_pb2.QueuePutRequest, peer: Container | None) -> Empty:
        """Add items."""
        with self._queue(request.queue_id).partition(request.partition_key) as partition:
            partition.put(list(request.values))
        return Empty()

    async def QueueGet(self, request: api_pb2.QueueGetRequest, peer: Container | None) -> api_pb2.QueueGetResponse:
        """Remove up to `n_values` items; waits up to `timeout` seconds for the first."""
        with self._queue(request.queue_id).partition(request.partition_key) as partition:
            end = time.monotonic() + seconds(request.timeout)
            while not partition.items and (left := end - time.monotonic()) > 0:
                await partition.broadcast.wait(left)
                self._queue(request.queue_id)  # it may have been deleted
            return api_pb2.QueueGetResponse(values=partition.take(count(request.n_values) or 1))

    async def QueueNextItems(
        self, request: api_pb2.QueueNextItemsRequest, peer: Container | None
    ) -> api_pb2.QueueNextItemsResponse:
        """Look at items behind an entry without removing them."""
        seen, end = entry(request.last_entry_id), time.monotonic() + seconds(request.item_poll_timeout)
        with self._queue(request.queue_id).partition(request.partition_key) as partition:
            while partition.count <= seen and (left := end - time.monotonic()) > 0:
                await partition.broadcast.wait(left)
                self._queue(request.queue_id)  # it may have been deleted
            items = [
                api_pb2.QueueItem(value=value, entry_id=str(number))
                for number, value in partition.items
                if number > seen
            ]
        return api_pb2.QueueNextItemsResponse(items=items[:100])

    async def QueueLen(self, request: api_pb2.QueueLenRequest, peer: Container | None) -> api_pb2.QueueLenResponse:
        """Return the number of items in one partition, or in all."""
        queue = self._queue(request.queue_id)
        return api_pb2.QueueLenResponse(
            len=sum(
                len(partition.items)
                for key, partition in queue.partitions.items()
                if request.total or key == request.partition_key
            )
        )

    async def QueueClear(self, request: api_pb2.QueueClearRequest, peer: Container | None) -> Empty:
        """Remove the items of one partition, or of all."""
        queue = self._queue(request.queue_id)
        for key in list(queue.partitions) if request.all_partitions else [request.partition_key]:
            with queue.partition(key) as partition:
                partition.clear()
        return Empty()

    async def QueueDelete(self, request: api_pb2.QueueDeleteRequest, peer: Container | None) -> Empty:
        """Remove the queue; requests that wait for an item of it fail."""
        self._remove(request.queue_id)
        return Empty()

    def _queue(self, queue_id: str) -> Queue:
        return found(self._queues, queue_id, "queue")

    def _drop_stale(self) -> None:
        """Remove ephemeral queues without heartbeats."""
        now = time.monotonic()
        for queue in list(self._queues.values()):
            if not queue.name and now - queue.heartbeat_at > EPHEMERAL_LIMIT:
                self._remove(queue.id)

    def _remove(self, queue_id: str) -> None:
        queue = self._queues.pop(queue_id, None)
        for partition in queue.partitions.values() if queue else ():
            partition.broadcast.notify()


def _metadata(queue: Queue) -> api_pb2.QueueMetadata:
    creation = known(api_pb2.CreationInfo, created_at=queue.created_at)
    return known(api_pb2.QueueMetadata, name=queue.name, creation_info=creation)
