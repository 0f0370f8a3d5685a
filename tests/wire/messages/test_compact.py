"""A request and an answer are one object to the pickler of the SDK, and their buffers are not copied."""

from __future__ import annotations

import io
import pickle

import cloudpickle
import pytest

from modal_gpu_magic.wire.messages.events import Answer, Asked, Event, Request, Segment, Transfer

BUFFER = bytes(range(256)) * 4096
VALUES = Transfer(b"stream", segments=(Segment("a", "cuda:0"),), buffers=("k",), inline={"k": BUFFER, "empty": b""})
MESSAGES = {
    "request": Request(
        "run-1",
        "1.0",
        "a\ud800",
        3,
        values=VALUES,
        mutates=frozenset({"a"}),
        asked=Asked(("H100", "A100"), names={str(i): str(i) for i in range(50)}),
        states={"environ": {"A": "1"}},
    ),
    "answer": Answer("g", "1.0", values=VALUES, tail=(Event(0, "stream", {"name": "stdout", "text": "é"}),)),
    "answer without values": Answer("g", "1.0"),
}


class Counting(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Calls a function of Python for each object, as the SDK's pickler does."""

    calls = 0

    def persistent_id(self, obj: object) -> None:
        self.calls += 1


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_message_crosses_whole(message: Request | Answer, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(message, protocol)) == message


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_the_sdk_sees_one_object(message: Request | Answer) -> None:
    file = io.BytesIO()
    pickler = Counting(file)
    pickler.dump(message)
    assert pickle.loads(file.getvalue()) == message
    assert pickler.calls < 20


def test_buffers_are_not_copied() -> None:
    make, arguments = MESSAGES["request"].__reduce__()
    assert any(each is BUFFER for each in arguments)
    assert make(*arguments).values.inline["k"] is BUFFER
