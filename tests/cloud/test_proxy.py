"""The network of the tests: its delay, its bandwidth, and each of its faults."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cloud.proxy import HOST, Link, Proxy, megabits


@contextlib.contextmanager
def echo(link: Link) -> Iterator[tuple[Proxy, Callable[[], socket.socket]]]:
    """A proxy before a server that returns what it gets, and a function that connects."""
    with socket.create_server((HOST, 0)) as listening, Proxy(link) as proxy, contextlib.ExitStack() as stack:
        threading.Thread(target=_serve, args=(listening,), daemon=True).start()
        port = proxy.listen()
        proxy.lead(port, listening.getsockname()[1])

        def connect() -> socket.socket:
            connected = stack.enter_context(socket.create_connection((HOST, port)))
            connected.settimeout(90)
            return connected

        yield proxy, connect
        listening.shutdown(socket.SHUT_RDWR)


def _serve(listening: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_echo, args=(listening.accept()[0],), daemon=True).start()


def _echo(connected: socket.socket) -> None:
    with connected, contextlib.suppress(OSError):
        while chunk := connected.recv(1 << 16):
            connected.sendall(chunk)


def ask(connected: socket.socket, content: bytes = b"?") -> float:
    """Send bytes and await all of them; the seconds it took."""
    began = time.monotonic()
    sender = threading.Thread(target=connected.sendall, args=(content,))
    sender.start()
    found = bytearray()
    while len(found) < len(content):
        found += connected.recv(1 << 16)
    sender.join()
    assert found == content
    return time.monotonic() - began


def test_a_request_takes_a_round_trip_and_the_first_one_two() -> None:
    with echo(Link(delay=0.2)) as (_, connect):
        began = time.monotonic()
        connected = connect()
        ask(connected)
        assert time.monotonic() - began >= 0.4
        assert ask(connected) >= 0.2


def test_jitter_keeps_the_order() -> None:
    with echo(Link(delay=0.01, jitter=0.05)) as (_, connect):
        ask(connect(), os.urandom(300_000))


def test_connections_share_the_bandwidth_of_each_direction() -> None:
    with echo(Link(up=megabits(16), down=megabits(80))) as (proxy, connect):
        both = [connect(), connect()]
        began = time.monotonic()
        threads = [threading.Thread(target=ask, args=(each, os.urandom(500_000))) for each in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began >= 0.5
        assert proxy.carried == (1_000_000, 1_000_000)


def test_what_is_sent_in_a_cut_arrives_after_it() -> None:
    with echo(Link()) as (proxy, connect):
        connected = connect()
        ask(connected)
        began = time.monotonic()
        proxy.cut(0.5)
        ask(connected)
        assert time.monotonic() - began >= 0.5


def test_a_connection_that_was_in_a_black_hole_stays_silent() -> None:
    with echo(Link()) as (proxy, connect):
        old = connect()
        ask(old)
        proxy.black_hole()
        inside = connect()
        for each in (old, inside):
            each.sendall(b"?")
        while proxy.carried[0] < 3:  # taken from both connections, and lost
            time.sleep(0.01)
        proxy.mend()
        ask(connect())
        for each in (old, inside):
            each.sendall(b"?")
            each.settimeout(0.2)
            with pytest.raises(TimeoutError):
                each.recv(1)


def test_a_reset_ends_connections_and_new_ones_work() -> None:
    with echo(Link()) as (proxy, connect):
        connected = connect()
        ask(connected)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            connected.recv(1)
        ask(connect())


def test_a_refusal_ends_with_mend() -> None:
    with echo(Link()) as (proxy, connect):
        connected = connect()
        ask(connected)
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            connected.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect()
        proxy.mend()
        ask(connect())
