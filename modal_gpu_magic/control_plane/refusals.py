"""Errors that refuse an RPC. Each has one sentence for the user; `listener` maps the classes to gRPC statuses.

Refusal
├── NotFound       the object does not exist
├── Invalid        the request is wrong in any state
├── Exists         the object to create already exists
├── Conflict       the request does not fit the current state
├── Full           a limit is reached; the SDK may retry
├── Unauthorized   the token is wrong
├── Forbidden      the peer is known and may not do this
└── Unsupported    Modal supports the request, the local backend does not
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.timestamp_pb2 import Timestamp
    from modal_proto.api_pb2 import ListPagination

Entry = TypeVar("Entry")


class Refusal(Exception):  # noqa: N818 - named after the event
    """Base class: a refusal with its reason."""


class NotFound(Refusal):
    """The object does not exist on this control plane."""


class Invalid(Refusal):
    """The request is wrong in any state."""


class Exists(Refusal):
    """The object already exists. The SDK raises AlreadyExistsError, or FileExistsError for a file."""


class Conflict(Refusal):
    """The request does not fit the current state."""


class Full(Refusal):
    """A limit is reached. The SDK retries or raises `queue.Full`."""


class Unauthorized(Refusal):
    """The headers do not have the peer's token."""


class Forbidden(Refusal):
    """The peer is known and may not do this: one container would act for another."""


class Unsupported(Refusal):
    """The local backend does not support this feature of Modal."""


def found(table: Mapping[str, Entry], key: str, kind: str) -> Entry:
    """Return entry `key` of `table`; raise NotFound with `kind`, the kind of object, if there is none."""
    try:
        return table[key]
    except KeyError:
        raise NotFound(f"The local control plane has no {kind} {key!r} (all objects are lost when it stops).") from None


ENTRY_DIGITS = 18
POLL_SECONDS = 600.0
"""The longest that a request is held. The SDK asks for 55 s at most, and asks again."""


def seconds(value: float) -> float:
    """How long a request may be held; Invalid for a time that never ends or is no number."""
    if not math.isfinite(value):
        raise Invalid(f"A timeout of {value} s is no number of seconds.")
    return min(value, POLL_SECONDS)


def moment(value: Timestamp) -> float:
    """A time, in seconds of the epoch; Invalid for one that is none."""
    try:
        return value.ToNanoseconds() / 1e9
    except ValueError:
        raise Invalid(f"{value.seconds} s and {value.nanos} ns are no time.") from None


def count(value: int) -> int:
    """A number of things; Invalid for a negative one."""
    if value < 0:
        raise Invalid(f"{value} is no number of items.")
    return value


def entry(text: str) -> int:
    """The number in the id of a log's or a queue's entry; an empty id is that before the first; Invalid for others."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= ENTRY_DIGITS):
        raise Invalid(f"{text[:40]!r} is not the id of an entry.")
    return int(text or 0)


class Created(Protocol):
    """An object with the time of its creation, in seconds of the epoch."""

    @property
    def created_at(self) -> float:
        """The time."""


Object = TypeVar("Object", bound=Created)


def page(objects: Iterable[Object], pagination: ListPagination) -> list[Object]:
    """Return one page of a list: the newest first, created before a time, at most as many as asked for."""
    before, most = pagination.created_before, count(pagination.max_objects)
    old = [each for each in objects if not before or each.created_at < before]
    return sorted(old, key=lambda each: each.created_at, reverse=True)[: most or None]
