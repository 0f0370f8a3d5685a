"""What a stream refers to by name, and the receiver's loader replaces by what it has: its namespace, its devices."""

from __future__ import annotations

from typing import Any


def namespace() -> dict[str, Any]:
    """Stands in a stream, uncalled, for the session's namespace.

    Raises:
        LookupError: always. The loader puts its namespace in the function's place.
    """
    raise LookupError("a stream of this session can only be read by the session's loader")


def device(name: str) -> str:
    """Stands in a stream for what tells where a storage of a device goes.

    Raises:
        LookupError: always. The loader puts a function of its own in the function's place.
    """
    raise LookupError(f"a storage on {name} can only be read by the session's loader")


BEGINNING = b"\x80\x05c%b\nnamespace\n\x94." % __name__.encode()
"""The first pickle of each stream: the namespace, which is number 0 of the memo. The opcodes are pickle's."""
