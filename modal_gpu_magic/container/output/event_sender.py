"""A run's events on their way out: numbered, merged, and posted in batches by one sender thread.

`emit`, `text` and `piped` may be called from any thread; they only append to a deque, so a cell that prints 100,000
lines pays for little more than that, and no signal can tear them. All else (merging, numbering, cutting into frames) is
done where it costs the cell nothing. What the queue is, this module does not know: it calls the run's `post`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.container.process.output_owner import adopt_threads, claim, claimed, daemon, owner
from modal_gpu_magic.wire.messages.events import Event, EventKind
from modal_gpu_magic.wire.messages.log import Log, cut, weigh

Post = Callable[[list[bytes]], None]

LINGER: Final = 0.05
"""Seconds after a run's begin before anything is posted: what a short cell shows rides on its result."""
GATHER: Final = 0.004
"""Seconds from the first event after a pause until it is posted, so that the rest of its line comes along."""
QUIET, BUSY, FAILING = 0.05, 0.25, 5.0
"""Seconds between two posts: at rest; at most, under load; at most, while posting fails."""
BUSY_BYTES: Final = 64 << 10
"""Bytes waiting at a post that count as load."""
HIGH_WATER: Final = 8 << 20
"""Bytes waiting above which whoever prints is slowed down."""
PATIENCE: Final = 10.0
"""Seconds the main thread waits for a reader that does not read; then the log takes it all, and may forget."""
ITEM: Final = 64
"""Bytes counted for a waiting text beside its characters."""
PIECE: Final = 120_000
"""Characters of one stream event: four bytes each at most, so that it fits a frame."""
FRAMES_A_POST: Final = 8
STREAMS: Final = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run's result says of its events: frames posted, events in all, and those that were not posted."""

    frames: int
    events: int
    tail: tuple[Event, ...]


@dataclass(eq=False, slots=True)
class _Run:
    name: str
    post: Post
    log: Log = field(default_factory=Log)
    sent: int = 0
    frames: int = 0
    begun: float = field(default_factory=time.monotonic)
    ended: bool = False

    @property
    def all_sent(self) -> bool:
        return self.sent >= self.log.next_number


class EventSender:
    """The container's one way out for events. `patience`: seconds a reader that does not read may hold user code up."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self.stray: Callable[[str], object] | None = None
        """Takes text that belongs to no run (before the first one): Modal's log."""
        self.to_parent: Callable[[str, dict[str, Any]], object] | None = None
        """Takes the events of a forked child, in that child."""
        self.error: Exception | None = None
        """Why posting last failed, if it ever did."""
        self._waiting: deque[tuple[_Run | None, str, Any]] = deque()
        self._size = 0
        self._current: _Run | None = None
        self._unsent: dict[_Run, None] = {}
        self._lock = threading.Condition(threading.RLock())
        self._idle = self._urgent = self._posting = self._stalled = self._forked = self._closed = False
        self._interval, self._posted_at = QUIET, 0.0
        os.register_at_fork(after_in_child=self._fork)
        daemon("modal-gpu-sender", self._send)

    def begin(self, run: str, post: Post) -> None:
        """A run begins: from now on events are its own, and `post` takes its frames (in the sender's thread).

        `post` raises if it cannot (`queue.Full`): the events are kept and tried again, in longer intervals.
        """
        with self._lock:
            self._seal()
            adopt_threads(self._current)
            if self._current:
                self._current.log.forget(self._current.sent)
            self._current = _Run(run, post)
            self._stalled = self._urgent = False
            self._interval = QUIET

    def claim(self) -> None:
        """What this context, and every asyncio task made in it, puts out is the current run's for good."""
        claim(self._current)

    def emit(self, kind: EventKind, **content: Any) -> None:
        """One event of the run that this thread or task belongs to. A forked child hands it to its parent."""
        if not self._forked:
            self._put(owner() or self._current, kind, content, weigh(content))
        elif self.to_parent is not None:
            self.to_parent(kind, content)

    def from_child(self, kind: EventKind, content: dict[str, Any]) -> None:
        """An event of a forked child: nobody knows from which run, so it is the current or last one's."""
        self._put(self._current, kind, content, weigh(content))

    def text(self, name: str, text: str) -> None:
        """Text that Python code in this thread wrote to the stream `name`."""
        self._put(claimed() or owner() or self._current, name, text, len(text))

    def piped(self, name: str, text: str) -> None:
        """Text that came through a file descriptor: nobody knows from whom, so it is the current or last run's."""
        self._put(self._current, name, text, len(text))

    def finish(self) -> Finished:
        """The run is over. What was not posted is in `tail`; what its threads put out later is posted, marked late."""
        run = self._current
        if run is None:
            return Finished(0, 0, ())
        with self._lock:
            self._seal()
            self._lock.wait_for(lambda: not self._posting, 1.0)
            tail = run.log.since(run.sent)
            run.sent, run.ended = run.log.next_number, True
            return Finished(run.frames, run.log.next_number, tail)

    def flush_now(self, timeout: float = 5.0) -> bool:
        """Post everything at once and wait for it, `timeout` seconds at most; returns whether all is out."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._seal()
            while not (sent := all(run.all_sent for run in self._unsent)):
                self._urgent = True
                self._lock.notify_all()
                if time.monotonic() >= deadline:
                    break
                self._lock.wait(min(0.2, timeout))
            return sent

    def events_from(self, number: int) -> tuple[Event, ...]:
        """The current or last run's events from `number` on, for a reader that missed some."""
        with self._lock:
            self._seal()
            return self._current.log.since(number) if self._current else ()

    def close(self) -> None:
        """End the sender's thread."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def _put(self, run: _Run | None, kind: str, content: Any, size: int) -> None:
        self._waiting.append((run, kind, content))
        self._size += size + ITEM
        if self._idle or self._size > HIGH_WATER:
            self._nudge()

    def _nudge(self) -> None:
        with self._lock:
            self._lock.notify_all()
        if self._size > HIGH_WATER:
            main = threading.current_thread() is threading.main_thread()
            # Any other thread waits only a moment: it may be one that the sender needs.
            self._doze(self._patience if main else 0.05)
            self._stalled = self._stalled or (main and self._size > HIGH_WATER)
        if self._stalled:
            with self._lock:
                self._seal()

    @interruptible
    def _doze(self, seconds: float) -> None:
        """Wait for room. Holds no lock: KeyboardInterrupt may strike here."""
        deadline = time.monotonic() + seconds
        while self._size > HIGH_WATER and not self._stalled and time.monotonic() < deadline:
            time.sleep(0.002)

    def _fork(self) -> None:
        self._forked = True

    # Numbering: with the lock held.

    def _seal(self) -> None:
        """Give what waits its numbers; consecutive text of one stream becomes one event."""
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
        self._size = len(self._waiting) * ITEM

    def _add_text(self, run: _Run | None, name: str, text: str) -> None:
        if run is None:
            if self.stray and text:
                self.stray(text)
            return
        text = sound(text)
        for start in range(0, len(text), PIECE):
            self._add(run, "stream", {"name": name, "text": text[start : start + PIECE]})

    def _add(self, run: _Run, kind: Any, content: dict[str, Any]) -> None:
        run.log.add(kind, {**content, "late": True} if run.ended else content)
        self._unsent[run] = None

    # The sender's thread.

    def _send(self) -> None:
        while not self._closed:
            with self._lock:
                self._sleep()
                loaded = self._size > BUSY_BYTES
                self._seal()
                runs = tuple(self._unsent)
                self._posting = True
            posted = [self._post(run) for run in runs]
            failed = not all(posted)
            with self._lock:
                self._interval = _interval(self._interval, failed=failed, loaded=loaded)
                self._stalled = failed
                self._unsent = {run: None for run in self._unsent if not run.all_sent}
                self._posting, self._posted_at = False, time.monotonic()
                self._lock.notify_all()

    def _sleep(self) -> None:
        """Until something waits, and then until it is due."""
        while not (self._waiting or self._unsent or self._closed):
            self._idle = True
            if not self._waiting:  # looked at again, now that whoever puts something there sees that we are idle
                self._lock.wait()
            self._idle = False
        gathered = time.monotonic() + GATHER
        while not (self._urgent or self._closed or (self._size > HIGH_WATER and not self._stalled)):
            begun = self._current.begun + LINGER if self._current else 0.0
            delay = max(begun, self._posted_at + self._interval, gathered) - time.monotonic()
            if delay <= 0:
                break
            self._lock.wait(delay)
        self._urgent = False

    def _post(self, run: _Run) -> bool:
        """Post what the run has to post; returns False if it has to be tried again."""
        with self._lock:
            packed = cut(run.name, run.log.since(run.sent))
        while batch := list(islice(packed, FRAMES_A_POST)):
            try:
                run.post([frame.blob for frame in batch])
            except Exception as error:  # noqa: BLE001 - whatever a queue raises: the events are kept and tried again
                self.error = error
                if run is self._current:
                    return False
                run.sent = run.log.next_number  # output of a thread that outlived its run: there, or nowhere
                return True
            with self._lock:
                run.frames += len(batch)
                run.sent = max(run.sent, batch[-1].reaches)
                if run is not self._current:
                    run.log.forget(run.sent)
        return True


def sound(text: str) -> str:
    r"""`text` without lone surrogates, which no notebook can hold: they become `\ud800`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _interval(before: float, *, failed: bool, loaded: bool) -> float:
    """Seconds until the next post."""
    if failed:
        return min(max(before, BUSY) * 2, FAILING)
    return min(before * 1.5, BUSY) if loaded else QUIET


def _taken(waiting: deque[tuple[_Run | None, str, Any]]) -> Iterator[tuple[_Run | None, str, Any]]:
    """What waits now, taken out; not what comes meanwhile, or a cell that prints without end would keep us for ever."""
    for _ in range(len(waiting)):
        yield waiting.popleft()
