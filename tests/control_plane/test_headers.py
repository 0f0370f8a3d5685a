"""Requests whose headers are odd, byte by byte: each is answered, and the next one, too."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived
from modal_proto import api_pb2

from tests.control_plane.odd_requests import Raw, framed
from tests.control_plane.plane import Plane

SECONDS = 60.0
BODY = framed(api_pb2.QueueLenRequest(queue_id="qu-1").SerializeToString())
ROUTE = {
    ":method": "POST",
    ":scheme": "http",
    ":path": "/modal.client.ModalClient/QueueLen",
    ":authority": "x",
    "te": "trailers",
    "content-type": "application/grpc",
}
ODD = {
    "nothing odd": {},
    "no base64": {"x-odd-bin": "!!!"},
    "cut base64": {"x-odd-bin": "a"},
    "bytes that are no text": {"x-odd": "\udcff\udcfe"},
    "a token that is no text": {"x-modal-token-id": "\udcff"},
    "a timeout that is none": {"grpc-timeout": "soon"},
    "a timeout in no unit": {"grpc-timeout": "5x"},
    "a timeout without end": {"grpc-timeout": "99999999999999999999H"},
    "a negative timeout": {"grpc-timeout": "-1S"},
    "another content": {"content-type": "text/html"},
    "no trailers": {"te": "gzip"},
    "another method": {":method": "GET"},
    "another path": {":path": "/modal.client.ModalClient/../QueueLen"},
    "a long header": {"x-odd": "a" * 10_000},
    "an encoding": {"grpc-encoding": "gzip"},
}


def answer(path: str, headers: dict[str, str]) -> list[Event]:
    """What the server says to one request."""
    connection = H2Connection(H2Configuration(validate_outbound_headers=False, header_encoding=None))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(SECONDS)
        peer.connect(path)
        connection.initiate_connection()
        pairs = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in headers.items()]
        connection.send_headers(1, pairs)
        connection.send_data(1, BODY, end_stream=True)
        peer.sendall(connection.data_to_send())
        events: list[Event] = []
        while not any(isinstance(event, StreamEnded | StreamReset) for event in events):
            received = peer.recv(1 << 16)
            assert received, "the server has closed the connection"
            events += connection.receive_data(received)
            peer.sendall(connection.data_to_send())
        return events


def status(events: Iterable[Event]) -> str:
    headers = [each.headers for each in events if isinstance(each, ResponseReceived | TrailersReceived)]
    pairs = dict(pair for each in headers for pair in each or ())
    return str((pairs.get(b"grpc-status") or pairs.get(b":status", b"")).decode())


@pytest.mark.parametrize("name", ODD)
def test_odd_headers_are_answered(plane: Plane, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    raw = Raw.client(plane.hello)
    events = answer(raw.path, {**ROUTE, **raw.headers, **ODD[name]})
    assert status(events) != ""
    assert status(answer(raw.path, {**ROUTE, **raw.headers})) == "5"
    assert "Traceback" not in capfd.readouterr().err
