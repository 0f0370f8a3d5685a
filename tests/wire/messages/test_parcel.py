"""A request in parts: which requests, into how many, and that they come out whole or not at all."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, SPAWN_BYTES
from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.compact import size_of
from modal_gpu_magic.wire.messages.events import Request, Transfer
from modal_gpu_magic.wire.messages.parcel import MARGIN_BYTES, MOST_PARTS, PART_BYTES, joined, split


def request(stream: bytes = b"", inline: dict[str, bytes] | None = None) -> Request:
    nbytes = len(stream) + sum(map(len, (inline or {}).values()))
    return Request("run-1", "1.0", "pass", 1, values=Transfer(stream, inline=inline or {}, nbytes=nbytes))


@pytest.mark.parametrize(
    "sent, parts",
    [
        (request(), 0),
        (request(os.urandom(5_000)), 0),
        (request(b"compresses " * 5_000), 0),
        (request(os.urandom(20_000)), 1),
        (request(inline={"a": os.urandom(20_000)}), 1),
        (request(os.urandom(PART_BYTES), {"a": os.urandom(PART_BYTES)}), 3),
        (request(os.urandom(MOST_PARTS * PART_BYTES + 1)), 0),
        (request(os.urandom(MOST_PARTS * PART_BYTES)), 0),
    ],
)
def test_which_requests_travel_in_parts(sent: Request, parts: int) -> None:
    parcel, pieces = split(sent)
    assert len(pieces) == parts
    assert (parcel is not None) == (parts > 0)
    if parcel is not None:
        assert (parcel.parts, parcel.partition) == (parts, "request-run-1")
        assert all(len(piece) <= QUEUE_ITEM_BYTES for piece in pieces)
        assert joined(pieces) == sent


@given(st.integers(0, 20_000), st.booleans())
def test_a_request_in_the_call_is_within_its_limit(size: int, is_buffer: bool) -> None:
    content = os.urandom(size)
    sent = request(inline={"a": content}) if is_buffer else request(content)
    parcel, _ = split(sent)
    assert (parcel is None) == (size_of(sent) + MARGIN_BYTES <= SPAWN_BYTES)


@pytest.mark.parametrize("loss", ["the first", "the last", "their order", "all"])
def test_parts_that_are_not_whole_are_refused(loss: str) -> None:
    _, pieces = split(request(os.urandom(3 * PART_BYTES - 5_000)))
    assert len(pieces) == 3
    lost = {"the first": pieces[1:], "the last": pieces[:-1], "their order": pieces[::-1], "all": ()}[loss]
    with pytest.raises(DamagedError):
        joined(lost)
