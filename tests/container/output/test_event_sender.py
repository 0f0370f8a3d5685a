"""The outlet: numbers, batches, back-pressure, a queue that is full, and whose output it is."""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modal_gpu_magic.container.output.event_sender import HIGH_WATER, Outlet
from modal_gpu_magic.wire.messages.events import FRAME_BYTES, Event, Frame
from modal_gpu_magic.wire.messages.log import Assembler


class Reader:
    """Stands in for the queue and its reader: takes frames, or refuses them while it is full."""

    def __init__(self) -> None:
        self.posts: list[tuple[float, list[bytes]]] = []
        self.full = False
        self.refused = 0

    def post(self, blobs: list[bytes]) -> None:
        if self.full:
            self.refused += 1
            raise queue.Full
        self.posts.append((time.monotonic(), blobs))

    @property
    def blobs(self) -> list[bytes]:
        return [blob for _, blobs in self.posts for blob in blobs]

    def events(self, *tail: Event) -> list[Event]:
        assembler = Assembler()
        frames: list[Frame] = [pickle.loads(blob) for blob in self.blobs]
        return [e for frame in (*frames, Frame("r", tail)) for e in assembler.feed(frame)]


def text(events: list[Event]) -> str:
    return "".join(event.content["text"] for event in events if event.kind == "stream")


@pytest.fixture
def outlet() -> Iterator[Outlet]:
    outlet = Outlet()
    yield outlet
    outlet.close()


@pytest.fixture
def reader() -> Reader:
    return Reader()


def until(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def test_a_short_run_posts_nothing(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("r", reader.post)
    outlet.text("stdout", "a")
    outlet.text("stdout", "b")
    outlet.emit("clear_output", wait=False)
    outlet.text("stderr", "c")
    outlet.text("stdout", "d")
    finished = outlet.finish()
    assert (finished.frames, finished.events, reader.posts) == (0, 4, [])
    assert [(e.number, e.kind, e.content.get("text")) for e in finished.tail] == [
        (0, "stream", "ab"),
        (1, "clear_output", None),
        (2, "stream", "c"),
        (3, "stream", "d"),
    ]


def test_a_line_is_posted_soon_and_whole(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("r", reader.post)
    time.sleep(0.1)
    waits = []
    for _ in range(5):
        written = time.monotonic()
        outlet.text("stdout", "a line")
        outlet.text("stdout", "\n")
        count = len(reader.posts) + 1
        until(lambda count=count: len(reader.posts) == count)
        waits.append(reader.posts[-1][0] - written)
        time.sleep(0.1)
    finished = outlet.finish()
    assert min(waits) < 0.03
    assert (finished.frames, finished.tail) == (5, ())
    assert [event.content["text"] for event in reader.events()] == ["a line\n"] * 5


def test_under_load_there_are_few_posts(outlet: Outlet, reader: Reader) -> None:
    """Seven lines between two posts are load enough: a busy machine comes to no more."""
    outlet.begin("r", reader.post)
    ends = time.monotonic() + 1.2
    count = 0
    while time.monotonic() < ends:
        outlet.text("stdout", "x" * 10_000 + "\n")
        count += 1
        time.sleep(0.001)
    finished = outlet.finish()
    assert 2 <= len(reader.posts) <= 12
    assert text(reader.events(*finished.tail)) == ("x" * 10_000 + "\n") * count
    assert finished.frames == len(reader.blobs)


def test_what_is_larger_than_a_frame_arrives_posted_or_on_the_result(outlet: Outlet, reader: Reader) -> None:
    html, line = "<b>" * 1_000_000, "é" * 25_000_000
    outlet.begin("r", reader.post)
    outlet.emit("display_data", data={"text/html": html})
    outlet.text("stdout", line)
    assert outlet.flush_now()
    outlet.text("stdout", line)
    outlet.emit("display_data", data={"text/html": html})
    finished = outlet.finish()
    assert all(len(blob) <= FRAME_BYTES for blob in reader.blobs)
    events = reader.events(*finished.tail)
    assert [e.content["data"]["text/html"] == html for e in events if e.kind == "display_data"] == [True, True]
    assert text(events) == line * 2
    assert finished.events == len(events)


def test_flush_now_does_not_wait_for_its_turn(outlet: Outlet, reader: Reader) -> None:
    waits = []
    for _ in range(5):
        reader.posts.clear()
        outlet.begin("r", reader.post)
        outlet.emit("started", generation="g")
        began = time.monotonic()
        assert outlet.flush_now()
        waits.append(time.monotonic() - began)
        assert [event.kind for event in reader.events()] == ["started"]
    assert min(waits) < 0.03


def test_threads_and_the_main_thread_lose_nothing(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("r", reader.post)

    def write(name: int) -> None:
        for i in range(4000):
            outlet.text("stdout", f"{name} {i}\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    lines = text(reader.events(*outlet.finish().tail)).splitlines()
    for name in range(8):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {i}" for i in range(4000)]


def test_a_full_queue_loses_nothing_and_is_tried_less_and_less(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("r", reader.post)
    reader.full = True
    for i in range(100):
        outlet.text("stdout", f"{i}\n")
        time.sleep(0.02)
    assert 1 <= reader.refused <= 4
    reader.full = False
    finished = outlet.finish()
    assert text(reader.events(*finished.tail)) == "".join(f"{i}\n" for i in range(100))
    assert isinstance(outlet.error, queue.Full)


def test_user_code_waits_for_a_slow_reader_but_not_for_ever(reader: Reader) -> None:
    outlet = Outlet(patience=0.3)
    gate = threading.Event()

    def post(blobs: list[bytes]) -> None:
        gate.wait(10)
        reader.post(blobs)

    outlet.begin("r", post)
    began = time.monotonic()
    while time.monotonic() < began + 0.25:
        outlet.text("stdout", "x" * 100_000)
    written = outlet._size
    assert written <= HIGH_WATER + 200_000
    for _ in range(300):
        outlet.text("stdout", "y" * 100_000)
    assert 0.25 < time.monotonic() - began < 20
    gate.set()
    finished = outlet.finish()
    assert text(reader.events(*finished.tail)).count("y") == 30_000_000
    outlet.close()


def test_displays_wait_for_a_slow_reader_too(reader: Reader) -> None:
    outlet = Outlet(patience=0.3)
    gate = threading.Event()

    def post(blobs: list[bytes]) -> None:
        gate.wait(10)
        reader.post(blobs)

    outlet.begin("r", post)
    began = time.monotonic()
    count = 0
    while time.monotonic() < began + 0.25:
        outlet.emit("display_data", data={"text/html": "x" * 1_000_000})
        count += 1
    assert count < 30
    gate.set()
    assert len(reader.events(*outlet.finish().tail)) == count
    outlet.close()


def test_a_reader_that_missed_numbers_asks_for_them(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("r", reader.post)
    outlet.text("stdout", "a")
    outlet.flush_now()
    outlet.emit("note", text="b")
    finished = outlet.finish()
    assert [event.content["text"] for event in outlet.events_from(0)] == ["a", "b"]
    assert outlet.events_from(1) == finished.tail
    outlet.begin("s", reader.post)
    assert outlet.events_from(0) == ()


def test_what_a_thread_prints_after_its_run_goes_to_that_run(outlet: Outlet, reader: Reader) -> None:
    """Between two runs and during the next one; and the next one has nothing of it."""
    outlet.begin("first", reader.post)
    go, gone = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        for word in ("between", "during"):
            go.acquire()
            outlet.text("stdout", word)
            gone.release()

    thread = threading.Thread(target=work)
    thread.start()
    outlet.text("stdout", "first")
    assert outlet.finish().events == 1
    go.release()
    gone.acquire()
    assert outlet.flush_now()
    second = Reader()
    outlet.begin("second", second.post)
    go.release()
    gone.acquire()
    outlet.text("stdout", "second")
    finished = outlet.finish()
    assert outlet.flush_now()
    thread.join()
    assert [e.content["text"] for e in finished.tail] == ["second"]
    late: list[Frame] = [pickle.loads(blob) for blob in reader.blobs]
    assert {frame.run for frame in late} == {"first"}
    assert [(e.number, e.content) for frame in late for e in frame.events] == [
        (1, {"name": "stdout", "text": "between", "late": True}),
        (2, {"name": "stdout", "text": "during", "late": True}),
    ]


def test_a_thread_started_in_a_run_is_that_run_s(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("first", reader.post)
    outlet.finish()
    outlet.begin("second", reader.post)
    thread = threading.Thread(target=outlet.text, args=("stdout", "mine"))
    thread.start()
    thread.join()
    assert [event.content["text"] for event in outlet.finish().tail] == ["mine"]


def test_a_pool_s_worker_works_for_whoever_gives_it_work(outlet: Outlet, reader: Reader) -> None:
    """Busy when the next run begins, it still is the first one's; idle when the one after begins, it is nobody's."""
    outlet.begin("first", reader.post)
    hold = threading.Event()

    def work(word: str) -> None:
        hold.wait()
        outlet.text("stdout", word)

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work, "first")
        outlet.finish()
        outlet.begin("second", reader.post)
        hold.set()
        job.result()
        assert outlet.finish().tail == ()
        time.sleep(0.05)
        outlet.begin("third", reader.post)
        pool.submit(work, "third").result()
        assert [event.content["text"] for event in outlet.finish().tail] == ["third"]
    assert outlet.flush_now()
    assert {pickle.loads(blob).run for blob in reader.blobs} == {"first"}


def test_late_output_that_cannot_be_posted_goes_nowhere(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("first", reader.post)
    hold = threading.Event()

    def work() -> None:
        hold.wait()
        outlet.text("stdout", "late")

    thread = threading.Thread(target=work)
    thread.start()
    outlet.finish()
    second = Reader()
    outlet.begin("second", second.post)
    reader.full = True
    hold.set()
    thread.join()
    assert outlet.flush_now(2)
    outlet.text("stdout", "second")
    assert outlet.flush_now(2)
    assert text(second.events()) == "second"


def test_text_before_the_first_run_goes_to_the_log(outlet: Outlet, reader: Reader) -> None:
    strays: list[str] = []
    outlet.stray = strays.append
    outlet.text("stderr", "importing")
    outlet.emit("note", text="nobody's")
    outlet.begin("r", reader.post)
    assert outlet.finish().tail == ()
    assert strays == ["importing"]


def test_lone_surrogates_are_written_out(outlet: Outlet, reader: Reader) -> None:
    outlet.begin("r", reader.post)
    outlet.text("stdout", "é\ud800")
    assert outlet.finish().tail[0].content["text"] == "é\\ud800"


def test_finish_without_a_run_is_empty(outlet: Outlet) -> None:
    assert (outlet.finish().frames, outlet.events_from(0)) == (0, ())
