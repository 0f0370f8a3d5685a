"""A request in parts, which travel through the queue beside the call.

The SDK sends the arguments of a call of more than 8 KiB as a blob, over HTTP, before the call: some four round trips.
A queue takes items up to 1 MiB, and the parts travel at the same time as the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, SPAWN_BYTES
from modal_gpu_magic.wire.messages.compact import size_of
from modal_gpu_magic.wire.messages.seal import opened, sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.wire.messages.events import Request

MARGIN_BYTES: Final = 512
"""Bytes of a call in addition to the request: the session's queue, and the SDK's own."""
PART_BYTES: Final = QUEUE_ITEM_BYTES // 2
MOST_PARTS: Final = 4
"""Most parts of a request. The round trips of a blob matter less for a larger one."""
WAIT_SECONDS: Final = 60.0
"""Seconds that a container waits for the parts of a request."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """The argument of a call whose request travels in parts.

    Attributes:
        run: the request's run.
        parts: the number of parts.
    """

    run: str
    parts: int

    @property
    def partition(self) -> str:
        """The partition of the queue that has the parts."""
        return f"request-{self.run}"


def split(request: Request) -> tuple[Parcel | None, tuple[bytes, ...]]:
    """Return the parcel and the parts of a request; None: the request fits in a call, or is better sent as a blob."""
    if request.values.nbytes > MOST_PARTS * PART_BYTES or size_of(request) + MARGIN_BYTES <= SPAWN_BYTES:
        return None, ()
    packed = sealed(request)
    parts = tuple(packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES))
    if len(parts) > MOST_PARTS:
        return None, ()
    return Parcel(request.run, len(parts)), parts


def joined(parts: Sequence[bytes]) -> Request:
    """Return the request of some parts.

    Raises:
        DamagedError: the parts are not those of one request.
    """
    request: Request = opened(b"".join(parts))
    return request
