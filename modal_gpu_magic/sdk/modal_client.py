"""Adapter of `modal.Client`'s constructor: a client of a server at an address that is not Modal's own.

The public constructors (`from_env`, `from_credentials`) take the address from Modal's configuration only. Tested with
modal 1.6.0 to 1.6.4. Symptom if this breaks: TypeError when the first local cell connects.
"""

from __future__ import annotations

from typing import Any

CLIENT_TYPE_CLIENT = 1
"""Of Modal's protocol (`api_pb2.CLIENT_TYPE_CLIENT`)."""


def client_at(url: str, token_id: str, token_secret: str) -> Any:
    """A `modal.Client` that is connected."""
    import modal

    client: Any = modal.Client(url, CLIENT_TYPE_CLIENT, (token_id, token_secret))
    client.__enter__()
    return client
