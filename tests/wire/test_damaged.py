"""What was damaged on its way is refused with one error of ours, and takes no memory: bits, lengths, fields, order."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.errors import DamagedError, TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.calls import decode, encode
from modal_gpu_magic.wire.messages.events import Event, Frame, Segment, Transfer
from modal_gpu_magic.wire.messages.log import Assembler, Log, cut
from modal_gpu_magic.wire.messages.seal import opened, seal, sealed
from modal_gpu_magic.wire.transfer import pack, unpack

HUGE: list[bytes] = [
    b"\x80\x05\x8e" + (2**62).to_bytes(8, "little") + b"x.",  # BINBYTES8
    b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.",  # BYTEARRAY8
    b"\x80\x05Nr" + (2**31).to_bytes(4, "little") + b".",  # LONG_BINPUT: a memo of 16 GB
    b"\x80\x05\x8b" + (2**31 - 1).to_bytes(4, "little") + b"1.",  # LONG4
    b"\x80\x05\x95" + (2**60).to_bytes(8, "little") + b"N.",  # FRAME
]
"""Pickles that ask for memory without end."""


class Plain:
    def __init__(self) -> None:
        self.numbers = list(range(300))


def damaged(blob: bytes, draw: Callable[[Any], Any]) -> bytes:
    """A blob that is not the same any more."""
    how = draw(st.sampled_from(["bit", "cut", "more", "swap", "empty", "huge"]))
    if how == "bit":
        at = draw(st.integers(0, len(blob) * 8 - 1))
        return blob[: at // 8] + bytes([blob[at // 8] ^ 1 << at % 8]) + blob[at // 8 + 1 :]
    if how == "cut":
        return blob[: draw(st.integers(0, len(blob) - 1))]
    if how == "more":
        return blob + bytes(draw(st.binary(min_size=1, max_size=40)))
    if how == "swap":
        at = draw(st.integers(1, len(blob) - 1))
        other = blob[at:] + blob[:at]
        return bytes(other) if other != blob else b""
    return b"" if how == "empty" else bytes(draw(st.sampled_from(HUGE)))


@settings(deadline=None)
@given(st.data())
def test_events(data: st.DataObject) -> None:
    log = Log()
    log.add("stream", {"name": "stdout", "text": "abc" * 100})
    log.add("display_data", {"data": {"image/png": "x" * 3000}, "metadata": {}})
    blobs = [packed.blob for packed in cut("run", log.since(0), 1500)]
    blob = data.draw(st.sampled_from(blobs))
    with pytest.raises(DamagedError):
        opened(damaged(blob, data.draw))


@pytest.mark.parametrize(
    "frames",
    [
        [Frame("r", (), b"x", (5, 2), 0)],
        [Frame("r", (), b"x", (-1, 2), 0)],
        [Frame("r", (), b"x", (0, 0), 0)],
        [Frame("r", (), b"x", (0, 3), 0), Frame("r", (), b"x", (2, 3), 0), Frame("r", (), b"x", (1, 2), 0)],
        [Frame("r", (), b"no pickle", (0, 1), 0)],
        [Frame("r", (), sealed(Event(0, "note", {}))[:-1], (0, 1), 0)],
    ],
)
def test_parts_that_do_not_fit(frames: list[Frame]) -> None:
    assembler = Assembler()
    *fit, last = frames
    for frame in fit:
        assembler.feed(frame)
    with pytest.raises(DamagedError):
        assembler.feed(last)


@settings(deadline=None)
@given(st.data())
def test_arguments_of_services(data: st.DataObject) -> None:
    value: Any = data.draw(st.sampled_from([[1, "two"], np.arange(30_000), {"f": Plain}]))
    with pytest.raises(DamagedError):
        decode(damaged(encode(value, {}, "x"), data.draw), {})


@settings(deadline=None)
@given(st.data())
def test_transfers(data: st.DataObject) -> None:
    values = {"a": np.arange(20_000.0), "b": Plain(), "c": "text", "d": np.ones(20_000, "u1"), "e": bytes(100_000)}
    sent = pack(values, {}, InlineStore())
    field = data.draw(st.sampled_from(["stream", "segments", "buffers", "inline", "base", "body", "digest"]))
    changed: dict[str, Any] = {
        "stream": lambda: damaged(sent.stream, data.draw),
        "segments": lambda: sent.segments[:-1] + data.draw(st.sampled_from([(), (Segment("z"),), (Segment("c"),) * 9])),
        "buffers": lambda: data.draw(
            st.sampled_from([(), sent.buffers[::-1], sent.buffers[1:], ("0" * 32, "../x"), (7,)])
        ),
        "inline": lambda: {**sent.inline, sent.buffers[0]: damaged(sent.inline[sent.buffers[0]], data.draw)},
        "base": lambda: 12,
        "body": lambda: sent.buffers[0],
        "digest": lambda: b"",
    }
    arrived = replace(sent, **{field: changed[field]()})
    with pytest.raises(DamagedError):
        unpack(arrived, {}, InlineStore(dict(arrived.inline)))


ODD: list[Any] = [
    None,
    5,
    -1,
    2**62,
    1.5,
    "x",
    b"x",
    (),
    (1,),
    [],
    {},
    {"a": 1},
    {1: b"x"},
    ...,
    "0" * 32,
    (None,),
    ("x", "y"),
]


@settings(deadline=None)
@given(st.data())
def test_fields_of_other_types(data: st.DataObject) -> None:
    """Any field of a message may hold anything: one error, before a field is read."""
    sent = pack({"a": np.arange(20_000.0), "b": [1]}, {}, InlineStore())
    field = data.draw(st.sampled_from([each.name for each in fields(Transfer)]))
    odd = data.draw(st.sampled_from([each for each in ODD if type(each) is not type(getattr(sent, field))]))
    arrived = replace(sent, **{field: odd})
    with pytest.raises(DamagedError):
        unpack(arrived, {}, InlineStore(dict(sent.inline)))
    with pytest.raises(DamagedError):
        decode(sealed(arrived), {})


@settings(deadline=None)
@given(st.data())
def test_frames_of_other_types(data: st.DataObject) -> None:
    event = Event(0, "stream", {"name": "stdout", "text": "x"})
    part = Frame("r", (), b"x", (0, 2), 0)
    kind: Any = data.draw(st.sampled_from([event, Frame("r", (event,)), part]))
    field = data.draw(st.sampled_from([each.name for each in fields(kind)]))
    odd = data.draw(st.sampled_from(ODD))
    try:
        changed: Any = replace(kind, **{field: odd})
        frame = Frame("r", (changed,)) if type(changed) is Event else changed
    except TypeError:
        return
    assembler = Assembler()
    try:
        arrived = assembler.feed(frame)
    except DamagedError:
        return
    assert all(type(each) is Event and type(each.content) is dict for each in arrived)


@pytest.mark.parametrize("frame", [*ODD, Event(0, "note", {"text": "x"}), Transfer()], ids=repr)
def test_no_frames(frame: Any) -> None:
    with pytest.raises(DamagedError):
        Assembler().feed(frame)


@pytest.mark.parametrize("blob", [each for each in ODD if type(each) is not bytes], ids=repr)
def test_what_is_no_bytes(blob: Any) -> None:
    for read in (opened, lambda odd: decode(odd, {})):
        with pytest.raises(DamagedError):
            read(blob)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"garbage", b"\x80\x05", b"\x80\x05h\x07.", b"(((.", b"\x80\x05\x94.", b"0."]
)
def test_a_sealed_message_that_is_no_pickle(content: bytes) -> None:
    with pytest.raises(DamagedError):
        opened(seal(content))


@settings(deadline=None)
@given(st.data())
def test_keys_that_are_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    key: Any = data.draw(st.sampled_from([*ODD[:-2], "../x", "a\0", "g" * 32, "A" * 32, "", "/etc/passwd", "0" * 31]))
    if key == "0" * 32:
        return
    for store in (InlineStore({key: b"x"} if isinstance(key, str) else {}), SharedStore(tmp_path_factory.mktemp("s"))):
        with pytest.raises(DamagedError):
            store.get(key)


@pytest.mark.parametrize("content", [5, 2**62, "x", [1, 2]])
def test_contents_that_are_no_bytes(content: Any) -> None:
    with pytest.raises(DamagedError):
        InlineStore({"0" * 32: content}).get("0" * 32)


@settings(deadline=None)
@given(st.data())
def test_a_buffer_file_of_another_length(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place: Path = tmp_path_factory.mktemp("store")
    sent = pack({"a": np.arange(40_000.0), "b": np.ones(30_000)}, {}, SharedStore(place))
    file = place / data.draw(st.sampled_from(sorted(set(sent.buffers))))
    content = file.read_bytes()
    file.write_bytes(data.draw(st.sampled_from([content[:-1], content[: len(content) // 2], b"", content + b"x"])))
    with pytest.raises(DamagedError):
        unpack(sent, {}, SharedStore(place))


def test_a_buffer_that_is_missing_is_said_as_before() -> None:
    sent = pack({"a": np.arange(20_000.0)}, {}, InlineStore())
    with pytest.raises(TransferError, match="is missing"):
        unpack(sent, {}, InlineStore())


@settings(deadline=None)
@given(st.data())
def test_a_stream_in_the_store(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place: Path = tmp_path_factory.mktemp("store")
    sent = pack({"numbers": list(range(400_000))}, {}, SharedStore(place))
    file = place / sent.body
    file.write_bytes(damaged(file.read_bytes(), data.draw))
    with pytest.raises(DamagedError):
        unpack(sent, {}, SharedStore(place))


def test_nothing_is_still_nothing() -> None:
    assert unpack(Transfer(), {}, InlineStore()).values == {}


@pytest.mark.parametrize("blob", HUGE, ids=range(len(HUGE)))
def test_no_memory_is_taken_for_what_a_damaged_pickle_asks_for(blob: bytes) -> None:
    transfer = replace(pack({"a": 1}, {}, InlineStore()), stream=blob)

    def read() -> None:
        for act in (lambda: opened(blob), lambda: decode(blob, {}), lambda: unpack(transfer, {}, InlineStore())):
            with pytest.raises(DamagedError):
                act()

    read()  # what this imports takes memory, too
    tracemalloc.start()
    try:
        read()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_sealed_pickle_is_a_pickle() -> None:
    assert pickle.loads(sealed([1, 2])) == opened(sealed([1, 2])) == [1, 2]
