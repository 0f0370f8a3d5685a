"""The ways an RPC is refused. Each carries one sentence for the user; `listener` maps them to gRPC statuses.

Refusal
├── NotFound       no such object here
├── Invalid        the request is wrong as written
├── Exists         what is to be made is there already
├── Conflict       it is right, but not in this state
├── Full           a documented limit is reached for now; the SDK may try again
├── Unauthorized   the token is not ours
└── Unsupported    Modal has it, the local backend does not
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.timestamp_pb2 import Timestamp

Entry = TypeVar("Entry")


class Refusal(Exception):  # noqa: N818 - it reads as what happened
    """Base: an answer that says no, with the reason."""


class NotFound(Refusal):
    """There is no such object on this control plane."""


class Invalid(Refusal):
    """The request cannot be right in any state."""


class Exists(Refusal):
    """There is one already. The SDK raises AlreadyExistsError, or FileExistsError for a file."""


class Conflict(Refusal):
    """The request does not fit the state things are in."""


class Full(Refusal):
    """A limit is reached. The SDK's own retry or `queue.Full` follows."""


class Unauthorized(Refusal):
    """Token id or secret are not those of this control plane."""


class Unsupported(Refusal):
    """A feature of Modal that the local backend does not have."""


def found(table: Mapping[str, Entry], key: str, what: str) -> Entry:
    """The entry `key` of `table`, or NotFound naming `what` was looked for."""
    try:
        return table[key]
    except KeyError:
        raise NotFound(f"The local control plane has no {what} {key!r} (it forgets everything when it ends).") from None


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
