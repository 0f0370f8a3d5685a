"""Adapter of `modal.Client`: connects a client to a server other than Modal's, and returns the RPCs of a client.

The public constructors (`from_env`, `from_credentials`) take the address from Modal's configuration only. Tested with
modal 1.6.0 to 1.6.4. Symptom if this breaks: TypeError when the first local cell connects; for the RPCs, see who calls
`stub_of`.
"""

from __future__ import annotations

from typing import Any

CLIENT_TYPE_CLIENT = 1
"""The value of `api_pb2.CLIENT_TYPE_CLIENT` in Modal's protocol."""


CLOSED_STREAMS = 1000
"""Closed streams that a connection remembers. h2 remembers 65,536: 0.8 MB in 1,000 cells."""


def limit_closed_streams() -> None:
    """Limit what the connections of this process remember that are made from now on."""
    from h2.connection import H2Connection

    H2Connection.MAX_CLOSED_STREAMS = CLOSED_STREAMS


def client_at(url: str, token_id: str, token_secret: str) -> Any:
    """Return a connected `modal.Client`."""
    import modal

    limit_closed_streams()
    client: Any = modal.Client(url, CLIENT_TYPE_CLIENT, (token_id, token_secret))
    client.__enter__()
    return client


def stub_of(client: Any) -> Any:
    """Return what has the RPCs of a client, for calls that the SDK makes itself and offers no function for.

    Raises:
        AttributeError: the SDK is another one.
    """
    from modal._utils import async_utils

    synchronizer: Any = async_utils.synchronizer
    return synchronizer._translate_in(client)._stub  # noqa: SLF001 - from the blocking client to the one that has the stub
