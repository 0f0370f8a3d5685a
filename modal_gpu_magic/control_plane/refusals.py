"""Errors that refuse an RPC. Each has one sentence for the user; `listener` maps the classes to gRPC statuses.

Refusal
├── NotFound       the object does not exist
├── Invalid        the request is wrong in any state
├── Exists         the object to create already exists
├── Conflict       the request does not fit the current state
├── Full           a limit is reached; the SDK may retry
├── Unauthorized   the token is wrong
└── Unsupported    Modal supports the request, the local backend does not
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Token id or secret do not match this control plane's."""


class Unsupported(Refusal):
    """The local backend does not support this feature of Modal."""


def found(table: Mapping[str, Entry], key: str, kind: str) -> Entry:
    """Return entry `key` of `table`; raise NotFound with `kind`, the kind of object, if there is none."""
    try:
        return table[key]
    except KeyError:
        raise NotFound(f"The local control plane has no {kind} {key!r} (all objects are lost when it stops).") from None
