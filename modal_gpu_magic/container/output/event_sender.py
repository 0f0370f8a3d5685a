"""Number a run's events, merge them, and post them in batches from one sender thread.

Any thread may call `emit`, `text` and `piped`. These only append to a deque, so a cell that prints 100,000 lines stays
fast, and no signal can interrupt them halfway. The sender thread merges, numbers and cuts events into frames. The
module does not depend on a queue: it calls the run's `post`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, sleep
from typing import Any, Final

from modal_gpu_magic.container.output.run_log import RunLog
from modal_gpu_magic.container.process.essentials import is_sound
from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.container.process.output_owner import NO_RUN, adopt_threads, claim, claimed, daemon, owner
from modal_gpu_magic.wire.messages.events import Event, EventKind
from modal_gpu_magic.wire.messages.log import Log, cut, weigh
from modal_gpu_magic.wire.messages.segments import for_log
from modal_gpu_magic.wire.values.sound_text import sound

Post = Callable[[list[bytes]], None]

LINGER_SECONDS: Final = 0.05
"""Seconds after a run's start before the first post: a short cell's output travels with its result."""
GATHER_SECONDS: Final = 0.004
"""Seconds from the first event after a pause to its post, so that the rest of the line is included."""
QUIET_SECONDS, BUSY_SECONDS, FAILING_SECONDS = 0.05, 0.25, 5.0
"""Seconds between two posts: at rest; the most under load; the most while posts fail."""
BUSY_BYTES: Final = 64 << 10
"""Pending bytes at a post that count as load."""
HIGH_WATER_BYTES: Final = 8 << 20
"""Pending bytes above which `emit`, `text` and `piped` slow down their caller."""
PATIENCE_SECONDS: Final = 10.0
"""Seconds that the main thread waits while nobody reads; after that the log takes all events and may drop some."""
OVERHEAD_BYTES: Final = 64
"""Bytes counted for a pending item in addition to its characters."""
LOCK_SECONDS: Final = 0.05
"""Seconds that code of the user waits for the lock: its holder may be in a finalizer that waits for that code."""
STUCK_SECONDS: Final = 2.0
"""Seconds that this package's code waits for the lock: its holder's finalizer may wait for what an ended cell holds."""
IDLE_SECONDS: Final = 5.0
"""Seconds between two looks of the resting sender thread: a thread that did not get the lock has not woken it."""
MAX_TEXT_CHARACTERS: Final = 120_000
"""Most characters of one stream event: at four bytes each, the event fits in a frame."""
FRAMES_PER_POST: Final = 8
STREAMS: Final = ("stdout", "stderr")
SHOWN: Final = frozenset(
    {"display_data", "update_display_data", "clear_output", "execute_result", "error", "failed", "note"}
)
"""Events that change what a notebook shows below the cell, beside text."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The events of a finished run.

    Attributes:
        frames: number of frames posted.
        events: number of events in all.
        tail: the events that were not posted.
    """

    frames: int
    events: int
    tail: tuple[Event, ...]


@dataclass(eq=False, slots=True)
class _Run:
    name: str
    post: Post
    record: RunLog | None = None
    """The log of a detached run; what it has need not reach the queue."""
    log: Log = field(default_factory=Log)
    sent: int = 0
    frames: int = 0
    begun: float = field(default_factory=monotonic)
    ended: bool = False

    @property
    def all_sent(self) -> bool:
        return self.sent >= self.log.next_number


class EventSender:
    """Sends all events of the container. `patience`: seconds that user code may be blocked while nobody reads."""

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self.stray: Callable[[str], object] | None = None
        """Receives text that belongs to no run (before the first run): writes to Modal's log."""
        self.to_parent: Callable[[str, dict[str, Any]], object] | None = None
        """Receives the events of a forked child, in that child."""
        self.error: BaseException | None = None
        """The last exception raised by a post, if any."""
        self._waiting: deque[tuple[_Run | None, str, Any]] = deque()
        self._size = 0
        self._sealer: int | None = None
        """The thread that numbers events now."""
        self._current: _Run | None = None
        self._unsent: dict[_Run, None] = {}
        self._lock = threading.Condition(threading.RLock())
        self._is_stuck = False
        """The lock was not free in time, and has not been since."""
        self._idle = self._urgent = self._posting = self._stalled = self._forked = self._closed = False
        self._interval, self._posted_at, self._held_until = QUIET_SECONDS, 0.0, 0.0
        os.register_at_fork(after_in_child=self._fork)
        self.thread = daemon("modal-gpu-sender", self._send)

    def begin(self, run: str, post: Post, record: RunLog | None = None) -> None:
        """Begin a run: new events belong to it, and the sender thread passes its frames to `post`.

        If `post` raises (`queue.Full`), the sender keeps the events and retries at growing intervals. With `record`,
        the frames go there first, and those that `post` refuses are not posted again: a reader finds them in the log.
        """
        with self._locked():
            self._seal()
            adopt_threads(self._current)
            if self._current:
                self._current.log.forget(self._current.sent)
            self._current = _Run(run, post, record)
            self._stalled = self._urgent = False
            self._interval, self._held_until = QUIET_SECONDS, 0.0

    def claim(self) -> None:
        """Make the current run the owner of all output of this context and of the asyncio tasks created in it."""
        claim(self._current)

    def emit(self, kind: EventKind, **content: Any) -> None:
        """Send an event of the run that owns this thread or task. A forked child passes the event to its parent."""
        run = owner() or self._current
        if run is NO_RUN and kind not in SHOWN:  # the state of a widget, a question: somebody waits for these
            run = self._current
        if not self._forked:
            self._put(run, kind, content, weigh(content))
        elif self.to_parent is not None:
            self.to_parent(kind, content)

    def say_stopping(self) -> None:
        """Send that a ■ has arrived. A signal handler calls this: the method waits for no reader."""
        self._waiting.append((self._current, "stopping", {}))
        self._with_lock(self._lock.notify_all)

    def hold(self, seconds: float) -> None:
        """Post nothing for so long, unless asked to: the answer will take the events along, which saves a post."""
        self._held_until = monotonic() + seconds

    def from_child(self, kind: EventKind, content: dict[str, Any]) -> None:
        """Send an event of a forked child. Its run is unknown, so the event belongs to the current or last run."""
        self._put(self._current, kind, content, weigh(content))

    def text(self, name: str, text: str) -> None:
        """Send text that Python code in this thread wrote to the stream `name`."""
        self._put(claimed() or owner() or self._current, name, text, len(text))

    def piped(self, name: str, text: str) -> None:
        """Send text read from a file descriptor. Its run is unknown, so it belongs to the current or last run."""
        self._put(self._current, name, text, len(text))

    @property
    def is_recorded(self) -> bool:
        """Whether the current run has a log, which somebody may read later."""
        return self._current is not None and self._current.record is not None

    @property
    def unsent_bytes(self) -> int:
        """An estimate of the bytes of the run's events that were not posted."""
        with self._locked():
            self._seal()
            run = self._current
            return sum(weigh(event.content) for event in run.log.since(run.sent)) if run else 0

    def finish(self) -> Finished:
        """End the run: unposted events go into `tail`; later output of its threads is posted and marked late."""
        run = self._current
        if run is None:
            return Finished(0, 0, ())
        with self._locked() as is_locked:
            self._seal()
            if is_locked:
                self._lock.wait_for(lambda: not self._posting, 1.0)
            tail = run.log.since(run.sent)
            if run.record is not None:
                run.record.add_last(tail)
            run.sent, run.ended, self._held_until = run.log.next_number, True, 0.0
            self._unsent.pop(run, None)  # between short cells, the sender's thread does not wake to do so
            return Finished(run.frames, run.log.next_number, tail)

    def flush_now(self, timeout: float = 5.0) -> bool:
        """Post all pending events now and wait up to `timeout` seconds; return whether all were posted."""
        deadline = monotonic() + timeout
        with self._locked() as is_locked:
            self._seal()
            while not (sent := all(run.all_sent for run in tuple(self._unsent))) and is_locked:
                self._urgent = True
                self._lock.notify_all()
                if monotonic() >= deadline:
                    break
                self._lock.wait(min(0.2, timeout))
            return sent

    def write_log(self) -> None:
        """Write the log of a detached run, as far as the run's frames are in it."""
        if self._current is not None and self._current.record is not None:
            self._current.record.write()

    def events_from(self, number: int) -> tuple[Event, ...]:
        """Return the current or last run's events from `number` on, for a reader that missed some."""
        with self._locked():
            self._seal()
            return self._current.log.since(number) if self._current else ()

    def close(self) -> None:
        """End the sender thread."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _put(self, run: _Run | None, kind: str, content: Any, size: int) -> None:
        if run is NO_RUN:
            return
        self._waiting.append((run, kind, content))
        self._size += size + OVERHEAD_BYTES
        if self._idle or self._size > HIGH_WATER_BYTES:
            self._nudge()

    def _nudge(self) -> None:
        self._with_lock(self._lock.notify_all)
        if self._size > HIGH_WATER_BYTES and self._sealer != threading.get_ident():  # else it would wait for itself
            main = threading.current_thread() is threading.main_thread()
            # Any other thread waits 50 ms at most: the sender may depend on that thread.
            self._doze(self._patience if main else 0.05)
            self._stalled = self._stalled or (main and self._size > HIGH_WATER_BYTES)
        if self._stalled:
            self._with_lock(self._seal)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock, or go on without it if its holder does not give it back: the holder is stuck in a finalizer.

        Yields:
            Whether the lock is held.
        """
        is_locked = self._lock.acquire(timeout=LOCK_SECONDS if self._is_stuck else STUCK_SECONDS)
        self._is_stuck = not is_locked
        if self._is_stuck:
            self._sealer = None  # the holder has taken the events that it numbers: the others are numbered here
        try:
            yield is_locked
        finally:
            if is_locked:
                self._lock.release()

    def _with_lock(self, act: Callable[[], object]) -> None:
        """Call `act` with the lock, unless another thread holds the lock for long: then the sender thread acts later.

        The garbage collector may run a finalizer in the thread that holds the lock, and the finalizer may wait for a
        lock of the user's that this thread holds (a logging handler's, tqdm's).
        """
        if self._lock.acquire(timeout=LOCK_SECONDS):
            try:
                act()
            finally:
                self._lock.release()

    @interruptible
    def _doze(self, seconds: float) -> None:
        """Wait until fewer bytes are pending. Holds no lock, so that KeyboardInterrupt may be raised."""
        deadline = monotonic() + seconds
        while self._size > HIGH_WATER_BYTES and not self._stalled and monotonic() < deadline:
            sleep(0.002)

    def _fork(self) -> None:
        self._forked = True

    # Numbering; requires the lock.

    def _seal(self) -> None:
        """Number the pending events; consecutive text of one stream becomes one event.

        The garbage collector may run a finalizer that prints, which may call this again: the nested call leaves all
        events to the outer one, or to the next one.
        """
        if self._sealer is not None:
            return
        self._sealer = threading.get_ident()
        try:
            self._seal_pending()
        finally:
            self._sealer = None

    def _seal_pending(self) -> None:
        source: tuple[_Run | None, str] = (None, "")
        texts: list[str] = []
        for run, kind, content in _taken(self._waiting):
            if (run, kind) != source:
                self._add_text(*source, "".join(texts))
                source, texts = (run, kind), []
            if kind in STREAMS:
                texts.append(content)
            elif run is not None:
                self._add(run, kind, content)
        self._add_text(*source, "".join(texts))
        self._size = len(self._waiting) * OVERHEAD_BYTES

    def _add_text(self, run: _Run | None, name: str, text: str) -> None:
        if run is None:
            if self.stray and text:
                self.stray(text)
            return
        text = sound(text)
        for start in range(0, len(text), MAX_TEXT_CHARACTERS):
            self._add(run, "stream", {"name": name, "text": text[start : start + MAX_TEXT_CHARACTERS]})

    def _add(self, run: _Run, kind: Any, content: dict[str, Any]) -> None:
        run.log.add(kind, {**content, "late": True} if run.ended else content)
        self._unsent[run] = None

    # The sender thread.

    def _send(self) -> None:
        while not self._closed:
            while not is_sound():
                sleep(QUIET_SECONDS)
            with self._lock:
                self._sleep()
                loaded = self._size > BUSY_BYTES
                self._seal()
                runs = tuple(self._unsent)
                self._posting = True
            failing = [run for run in runs if not self._post(run)]
            if self._current is not None and self._current.record is not None:
                self._current.record.write_if_due()
            with self._lock:
                self._interval = _interval(self._interval, failed=bool(failing), loaded=loaded)
                self._stalled = any(run.record is None for run in failing)
                self._unsent = {run: None for run in self._unsent if not run.all_sent}
                self._posting, self._posted_at = False, monotonic()
                self._lock.notify_all()

    def _sleep(self) -> None:
        """Wait until events are pending, and then until the next post is due."""
        while not (self._waiting or self._unsent or self._closed):
            self._idle = True
            due = self._current.record.due_in if self._current and self._current.record else None
            if not self._waiting and due != 0.0:  # check again: from now on `_put` sees `_idle` and notifies
                self._lock.wait(IDLE_SECONDS if due is None else due)
            self._idle = False
            if due is not None:
                return
        gathered = monotonic() + GATHER_SECONDS
        while not (self._urgent or self._closed or (self._size > HIGH_WATER_BYTES and not self._stalled)):
            begun = self._current.begun + LINGER_SECONDS if self._current else 0.0
            delay = max(begun, self._posted_at + self._interval, gathered, self._held_until) - monotonic()
            if delay <= 0:
                break
            self._lock.wait(delay)
        self._urgent = False

    def _post(self, run: _Run) -> bool:
        """Post the pending frames of a run; return False if the post must be retried."""
        if run.record is not None and not run.ended:
            return self._record(run, run.record)
        with self._lock:
            packed = cut(run.name, run.log.since(run.sent))
        while batch := list(islice(packed, FRAMES_PER_POST)):
            try:
                run.post([frame.blob for frame in batch])
            except BaseException as error:  # noqa: BLE001 - any error of a queue, `CancelledError` as well: keep the events and retry
                self.error = error
                if run is self._current:
                    return False
                run.sent = run.log.next_number  # drop late output of an earlier run: no retry
                return True
            with self._lock:
                run.frames += len(batch)
                run.sent = run.log.posted = max(run.sent, batch[-1].reaches)
                if run is not self._current:
                    run.log.forget(run.sent)
        return True

    def _record(self, run: _Run, record: RunLog) -> bool:
        """Put the pending frames of a run into its log, and post them once; return False if the queue took not all."""
        with self._lock:
            events = run.log.since(run.sent)
        frames = list(cut(run.name, events))
        has_end = any(event.kind == "end" for event in events)
        record.add(cut(run.name, map(for_log, events)) if has_end else frames)
        posted = 0
        try:
            for start in range(0, len(frames), FRAMES_PER_POST):
                batch = frames[start : start + FRAMES_PER_POST]
                run.post([frame.blob for frame in batch])
                posted += len(batch)
        except BaseException as error:  # noqa: BLE001 - any error of a queue, `CancelledError` as well: the log has the frames
            self.error = error
        with self._lock:
            run.frames += posted
            run.sent = run.log.posted = max(run.sent, *(event.number + 1 for event in events), 0)
            run.log.forget(run.sent)
        return posted == len(frames)


def _interval(before: float, *, failed: bool, loaded: bool) -> float:
    """Return the seconds until the next post."""
    if failed:
        return min(max(before, BUSY_SECONDS) * 2, FAILING_SECONDS)
    return min(before * 1.5, BUSY_SECONDS) if loaded else QUIET_SECONDS


def _taken(waiting: deque[tuple[_Run | None, str, Any]]) -> Iterator[tuple[_Run | None, str, Any]]:
    """Remove and yield the items pending now, and no later ones: a cell may print endlessly."""
    for _ in range(len(waiting)):
        yield waiting.popleft()
