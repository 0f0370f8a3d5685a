"""The outlet: numbers, batches, back-pressure, a queue that is full, and whose output it is."""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from modal_gpu_magic.container.output import event_sender
from modal_gpu_magic.container.output.event_sender import HIGH_WATER_BYTES, EventSender
from modal_gpu_magic.container.process.output_owner import _frames
from modal_gpu_magic.container.process.thread_pools import waits_for_work
from modal_gpu_magic.wire.messages.events import FRAME_BYTES, Event, Frame
from modal_gpu_magic.wire.messages.log import Assembler
from tests.container.smi_double import eventually


class Reader:
    """Stands in for the queue and its reader: takes frames, or refuses them while it is full."""

    def __init__(self) -> None:
        self.posts: list[tuple[float, list[bytes]]] = []
        self.full = False
        self.refused: list[float] = []

    def post(self, blobs: list[bytes]) -> None:
        if self.full:
            self.refused.append(time.monotonic())
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
def sender() -> Iterator[EventSender]:
    sender = EventSender()
    yield sender
    sender.close()


@pytest.fixture
def reader() -> Reader:
    return Reader()


class Clock:
    """The senders' clock, which stands still long before the first post is due: nothing is posted unless asked for."""

    def __init__(self) -> None:
        self.now = time.monotonic() - 10_000
        self.looks: dict[threading.Thread, int] = {}

    def __call__(self) -> float:
        thread = threading.current_thread()
        self.looks[thread] = self.looks.get(thread, 0) + 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(event_sender, "monotonic", clock)
    return clock


not_due = pytest.mark.usefixtures("clock")
"""What is not posted yet when the run ends is on its result, however busy the machine is."""


@not_due
def test_a_short_run_posts_nothing(sender: EventSender, reader: Reader) -> None:
    sender.begin("r", reader.post)
    sender.text("stdout", "a")
    sender.text("stdout", "b")
    sender.emit("clear_output", wait=False)
    sender.text("stderr", "c")
    sender.text("stdout", "d")
    finished = sender.finish()
    assert (finished.frames, finished.events, reader.posts) == (0, 4, [])
    assert [(e.number, e.kind, e.content.get("text")) for e in finished.tail] == [
        (0, "stream", "ab"),
        (1, "clear_output", None),
        (2, "stream", "c"),
        (3, "stream", "d"),
    ]


def test_a_line_is_posted_soon_and_whole(sender: EventSender, reader: Reader, clock: Clock) -> None:
    def write_a_line() -> None:
        looks, posts = clock.looks.get(sender.thread, 0), len(reader.posts)
        sender.text("stdout", "a line")
        # From its first look at the clock on, the sender thread waits for the rest of the line.
        eventually(lambda: clock.looks.get(sender.thread, 0) > looks)
        sender.text("stdout", "\n")
        assert len(reader.posts) == posts
        clock.now += 0.01
        eventually(lambda: len(reader.posts) > posts)

    sender.begin("r", reader.post)
    for _ in range(5):
        eventually(lambda: sender._idle)
        clock.now += 20_000
        write_a_line()
    finished = sender.finish()
    assert (finished.frames, finished.tail) == (5, ())
    assert [event.content["text"] for event in reader.events()] == ["a line\n"] * 5


def test_under_load_there_are_few_posts(sender: EventSender, reader: Reader) -> None:
    """Each line is load enough, so that a busy machine has load as well."""
    sender.begin("r", reader.post)
    count = 0
    while len(reader.posts) < 6:
        sender.text("stdout", "x" * 100_000 + "\n")
        count += 1
        time.sleep(0.01)
    finished = sender.finish()
    assert reader.posts[5][0] - reader.posts[0][0] > 0.8, "five pauses at rest are 0.25 s"
    assert text(reader.events(*finished.tail)) == ("x" * 100_000 + "\n") * count
    assert finished.frames == len(reader.blobs)


def test_what_is_larger_than_a_frame_arrives_posted_or_on_the_result(sender: EventSender, reader: Reader) -> None:
    html, line = "<b>" * 1_000_000, "é" * 25_000_000
    sender.begin("r", reader.post)
    sender.emit("display_data", data={"text/html": html})
    sender.text("stdout", line)
    assert sender.flush_now(60)
    sender.text("stdout", line)
    sender.emit("display_data", data={"text/html": html})
    finished = sender.finish()
    assert all(len(blob) <= FRAME_BYTES for blob in reader.blobs)
    events = reader.events(*finished.tail)
    assert [e.content["data"]["text/html"] == html for e in events if e.kind == "display_data"] == [True, True]
    assert text(events) == line * 2
    assert finished.events == len(events)


@not_due
def test_flush_now_does_not_wait_for_its_turn(sender: EventSender, reader: Reader) -> None:
    for _ in range(5):
        reader.posts.clear()
        sender.begin("r", reader.post)
        sender.emit("started", generation="g")
        assert sender.flush_now(60)
        assert [event.kind for event in reader.events()] == ["started"]


def test_threads_and_the_main_thread_lose_nothing(sender: EventSender, reader: Reader) -> None:
    sender.begin("r", reader.post)

    def write(name: int) -> None:
        for i in range(4000):
            sender.text("stdout", f"{name} {i}\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    lines = text(reader.events(*sender.finish().tail)).splitlines()
    for name in range(8):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {i}" for i in range(4000)]


def test_a_full_queue_loses_nothing_and_is_tried_less_and_less(sender: EventSender, reader: Reader) -> None:
    sender.begin("r", reader.post)
    reader.full = True
    for i in range(100):
        sender.text("stdout", f"{i}\n")
    eventually(lambda: len(reader.refused) >= 3)
    first, second, third = reader.refused[:3]
    assert second - first >= 0.5
    assert third - second >= 1.0
    reader.full = False
    finished = sender.finish()
    assert text(reader.events(*finished.tail)) == "".join(f"{i}\n" for i in range(100))
    assert isinstance(sender.error, queue.Full)


def test_user_code_waits_for_a_slow_reader_but_not_for_ever(reader: Reader) -> None:
    sender = EventSender(patience=1.0)
    gate = threading.Event()

    def post(blobs: list[bytes]) -> None:
        gate.wait()
        reader.post(blobs)

    sender.begin("r", post)
    began = time.monotonic()
    while time.monotonic() < began + 0.9:
        sender.text("stdout", "x" * 100_000)
    written = sender._size
    assert written <= HIGH_WATER_BYTES + 200_000
    for _ in range(300):  # five minutes, if each of them waited
        sender.text("stdout", "y" * 100_000)
    gate.set()
    finished = sender.finish()
    assert text(reader.events(*finished.tail)).count("y") == 30_000_000
    sender.close()


def test_displays_wait_for_a_slow_reader_too(reader: Reader) -> None:
    sender = EventSender(patience=0.3)
    gate = threading.Event()

    def post(blobs: list[bytes]) -> None:
        gate.wait()
        reader.post(blobs)

    sender.begin("r", post)
    began = time.monotonic()
    count = 0
    while time.monotonic() < began + 0.25:
        sender.emit("display_data", data={"text/html": "x" * 1_000_000})
        count += 1
    assert count < 30
    gate.set()
    assert len(reader.events(*sender.finish().tail)) == count
    sender.close()


@not_due
def test_a_reader_that_missed_numbers_asks_for_them(sender: EventSender, reader: Reader) -> None:
    sender.begin("r", reader.post)
    sender.text("stdout", "a")
    assert sender.flush_now(60)
    sender.emit("note", text="b")
    finished = sender.finish()
    assert [event.content["text"] for event in sender.events_from(0)] == ["a", "b"]
    assert sender.events_from(1) == finished.tail
    sender.begin("s", reader.post)
    assert sender.events_from(0) == ()


@not_due
def test_what_a_thread_prints_after_its_run_goes_to_that_run(sender: EventSender, reader: Reader) -> None:
    """Between two runs and during the next one; and the next one has nothing of it."""
    sender.begin("first", reader.post)
    go, gone = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        for word in ("between", "during"):
            go.acquire()
            sender.text("stdout", word)
            gone.release()

    thread = threading.Thread(target=work)
    thread.start()
    sender.text("stdout", "first")
    assert sender.finish().events == 1
    go.release()
    gone.acquire()
    assert sender.flush_now(60)
    second = Reader()
    sender.begin("second", second.post)
    go.release()
    gone.acquire()
    sender.text("stdout", "second")
    finished = sender.finish()
    assert sender.flush_now(60)
    thread.join()
    assert [e.content["text"] for e in finished.tail] == ["second"]
    late: list[Frame] = [pickle.loads(blob) for blob in reader.blobs]
    assert {frame.run for frame in late} == {"first"}
    assert [(e.number, e.content) for frame in late for e in frame.events] == [
        (1, {"name": "stdout", "text": "between", "late": True}),
        (2, {"name": "stdout", "text": "during", "late": True}),
    ]


@not_due
def test_a_thread_started_in_a_run_is_that_run_s(sender: EventSender, reader: Reader) -> None:
    sender.begin("first", reader.post)
    sender.finish()
    sender.begin("second", reader.post)
    thread = threading.Thread(target=sender.text, args=("stdout", "mine"))
    thread.start()
    thread.join()
    assert [event.content["text"] for event in sender.finish().tail] == ["mine"]


@not_due
def test_a_pool_s_worker_works_for_whoever_gives_it_work(sender: EventSender, reader: Reader) -> None:
    """Busy when the next run begins, it still is the first one's; idle when the one after begins, it is nobody's."""
    sender.begin("first", reader.post)
    is_busy, hold = threading.Event(), threading.Event()

    def work(word: str) -> None:
        is_busy.set()
        hold.wait()
        sender.text("stdout", word)

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work, "first")
        is_busy.wait()
        sender.finish()
        sender.begin("second", reader.post)
        hold.set()
        job.result()
        assert sender.finish().tail == ()
        (worker,) = pool._threads
        eventually(lambda: waits_for_work(_frames()[worker.ident or 0]))
        sender.begin("third", reader.post)
        pool.submit(work, "third").result()
        assert [event.content["text"] for event in sender.finish().tail] == ["third"]
    assert sender.flush_now(60)
    assert {pickle.loads(blob).run for blob in reader.blobs} == {"first"}


@not_due
def test_late_output_that_cannot_be_posted_goes_nowhere(sender: EventSender, reader: Reader) -> None:
    sender.begin("first", reader.post)
    hold = threading.Event()

    def work() -> None:
        hold.wait()
        sender.text("stdout", "late")

    thread = threading.Thread(target=work)
    thread.start()
    sender.finish()
    second = Reader()
    sender.begin("second", second.post)
    reader.full = True
    hold.set()
    thread.join()
    assert sender.flush_now(60)
    sender.text("stdout", "second")
    assert sender.flush_now(60)
    assert text(second.events()) == "second"


@not_due
def test_text_before_the_first_run_goes_to_the_log(sender: EventSender, reader: Reader) -> None:
    strays: list[str] = []
    sender.stray = strays.append
    sender.text("stderr", "importing")
    sender.emit("note", text="nobody's")
    sender.begin("r", reader.post)
    assert sender.finish().tail == ()
    assert strays == ["importing"]


@not_due
def test_lone_surrogates_are_written_out(sender: EventSender, reader: Reader) -> None:
    sender.begin("r", reader.post)
    sender.text("stdout", "é\ud800")
    assert sender.finish().tail[0].content["text"] == "é\\ud800"


def test_finish_without_a_run_is_empty(sender: EventSender) -> None:
    assert (sender.finish().frames, sender.events_from(0)) == (0, ())


@not_due
def test_a_finalizer_that_prints_while_events_are_numbered_loses_nothing(
    sender: EventSender, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sound` stands in for the finalizer: the garbage collector may run one at any allocation."""
    printed: list[str] = []

    def finalizer(value: str) -> str:
        if not printed:
            printed.append("gone")
            sender.text("stdout", "gone")
            assert sender.events_from(0) == ()  # as of a queue that is full: the writer numbers the events itself
        return value

    sender.begin("r", reader.post)
    monkeypatch.setattr(event_sender, "sound", finalizer)
    for name, word in (("stdout", "a"), ("stderr", "b"), ("stdout", "c")):
        sender.text(name, word)
    tail = sender.finish().tail
    assert [event.content["text"] for event in tail] == ["a", "b", "c"]
    assert sender.flush_now(60)
    assert [e.content["text"] for e in reader.events(*tail)] == ["a", "b", "c", "gone"]


def test_user_code_does_not_wait_for_a_finalizer_that_waits_for_user_code(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sound` stands in for the finalizer, in the sender thread; the lock is one of a logging handler, say."""
    sender, users = EventSender(patience=0.1), threading.Lock()
    is_waiting, gave_up = threading.Event(), threading.Event()

    def finalizer(value: str) -> str:
        if threading.current_thread() is sender.thread and not is_waiting.is_set():
            is_waiting.set()
            if users.acquire(timeout=100):
                users.release()
            else:
                gave_up.set()
        return value

    monkeypatch.setattr(event_sender, "sound", finalizer)
    sender.begin("r", reader.post)
    with users:
        sender.text("stdout", "a")
        assert is_waiting.wait(60)
        sender.text("stdout", "b" * HIGH_WATER_BYTES)
        sender.text("stdout", "c")
        sender.say_stopping()
        assert not gave_up.is_set()
    assert sender.flush_now(60)
    assert text(reader.events()) == "a" + "b" * HIGH_WATER_BYTES + "c"
    sender.close()


@not_due
def test_a_finalizer_that_prints_much_does_not_wait_for_the_thread_that_it_holds_up(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sound` stands in for the finalizer, here in the main thread, which numbers the events."""
    sender, much, printed = EventSender(patience=1000), "b" * HIGH_WATER_BYTES, threading.Event()

    def finalizer(value: str) -> str:
        if threading.current_thread() is threading.main_thread() and not printed.is_set():
            printed.set()
            sender.text("stdout", much)
        return value

    monkeypatch.setattr(event_sender, "sound", finalizer)
    sender.begin("r", reader.post)
    sender.text("stdout", "a")
    tail = sender.finish().tail
    assert sender.flush_now(60)
    assert text(reader.events(*tail)) == "a" + much
    sender.close()


def test_a_post_that_the_transport_cancels_is_tried_again(reader: Reader) -> None:
    sender, failures = EventSender(), [asyncio.CancelledError(), SystemExit()]

    def post(frames: list[bytes]) -> None:
        if failures:
            raise failures.pop()
        reader.post(frames)

    sender.begin("r", post)
    sender.text("stdout", "a")
    assert sender.flush_now(20)
    assert text(reader.events()) == "a"
    assert sender.thread.is_alive()
    sender.close()
