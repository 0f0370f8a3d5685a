"""A gRPC server that answers requests with odd headers. grpclib leaves them without an answer, with a traceback.

Uses private parts of grpclib's server, tested with 0.4.9. If they go, `tests/control_plane/test_headers.py` fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.server import Server

if TYPE_CHECKING:
    from grpclib.protocol import H2Protocol


class TolerantServer(Server):
    """Reads headers of any bytes, and drops binary ones, which no RPC has."""

    def _protocol_factory(self) -> H2Protocol:
        self._h2_config.header_encoding = "latin-1"  # every byte is a character; a token has others
        protocol = super()._protocol_factory()
        accept = protocol.handler.accept

        def accept_text(stream: Any, headers: list[tuple[str, str]], release_stream: Any) -> None:
            accept(stream, [pair for pair in headers if not pair[0].endswith("-bin")], release_stream)

        protocol.handler.accept = accept_text  # type: ignore[method-assign]  # of this connection
        return protocol
