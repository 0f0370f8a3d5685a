"""Names in a stream that the receiver's loader replaces by its own objects: the namespace, the device function."""

from __future__ import annotations

from typing import Any


def namespace() -> dict[str, Any]:
    """Represents the session's namespace in a stream; the loader replaces this function by its namespace.

    Raises:
        LookupError: always, because a loader without a session has no namespace.
    """
    raise LookupError("only the session's loader can read a stream of this session")


def device(name: str) -> str:
    """Represents the device of a storage in a stream; the loader replaces this function by its own.

    Raises:
        LookupError: always, because a loader without a session cannot choose a device.
    """
    raise LookupError(f"only the session's loader can read a storage on {name}")


BEGINNING = b"\x80\x05c%b\nnamespace\n\x94." % __name__.encode()
"""The first pickle of each stream, in pickle's opcodes: the namespace, which is object number 0 of the memo."""
