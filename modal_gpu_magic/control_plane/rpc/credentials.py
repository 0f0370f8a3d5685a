"""Headers by which the server knows a peer: the client's token, or the token of one container."""

from __future__ import annotations

import hmac
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.control_plane.refusals import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTAINER_HEADER = "x-modal-gpu-container-token"

CONTAINER_VARIABLE = "MODAL_OVERRIDE_HEADERS"
"""Environment variable with headers that the SDK adds to each request.

Internal to the SDK, tested with 1.6.0 and 1.6.4. If the SDK stops to read the variable, each request of a container
is refused as UNAUTHENTICATED.
"""


class Credentials(ABC):
    """Headers that a peer must send with each request."""

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """The headers by name, in lower case."""

    def check(self, metadata: Any) -> None:
        """Raise Unauthorized unless a request has all headers; takes the same time for each answer."""
        same = [_same(metadata.get(name), right) for name, right in self.headers.items()]
        if not all(same):
            raise Unauthorized("The token is not valid for this local control plane.")


@dataclass(frozen=True)
class Token(Credentials):
    """The client's token."""

    id: str
    secret: str = field(repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name, in lower case."""
        return {"x-modal-token-id": self.id, "x-modal-token-secret": self.secret}


@dataclass(frozen=True)
class ContainerToken(Credentials):
    """The token of one container: made for its process, and in its environment only."""

    secret: str = field(default_factory=lambda: os.urandom(24).hex(), repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name, in lower case."""
        return {CONTAINER_HEADER: self.secret}

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variable by which the SDK in the container sends the token."""
        return {CONTAINER_VARIABLE: f"{CONTAINER_HEADER}:{self.secret}"}


def _same(shown: object, right: str) -> bool:
    return hmac.compare_digest(str(shown).encode("utf-8", "backslashreplace"), right.encode())
