"""Write the frames of a detached run into files on the session's Volume, and commit the Volume.

A file grows by being replaced until it has GROWN_BYTES, so that a run of a day has few files: then the next one begins.
Above the limit of a run, the oldest output is dropped; its file is replaced by one that has the other events.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import Event
from modal_gpu_magic.wire.messages.log import Assembler, cut
from modal_gpu_magic.wire.messages.segments import (
    END,
    VALUES,
    Segment,
    Span,
    for_log,
    opened_segment,
    run_of,
    sealed_end,
    sealed_segment,
    whole_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from modal_gpu_magic.wire.messages.events import Answer, EventKind
    from modal_gpu_magic.wire.messages.log import Packed

PAUSE_SECONDS: Final = 2.0
"""Seconds from the first frame that is in no file to the next file, at most; and between two commits, at least."""
FIRST_PAUSE_SECONDS: Final = 0.3
"""The same for the first file, which shows who looks that the run has begun; a shorter run has one file."""
GROWN_BYTES: Final = 256 << 10
"""Size from which a file does not grow any more."""
FULL_BYTES: Final = 4 << 20
"""Bytes of frames that are written without delay."""
MOST_WAITING_BYTES: Final = 64 << 20
"""Bytes of frames that wait for a disk that takes none; above this the oldest are dropped."""
RUN_BYTES: Final = 1 << 30
"""Bytes of the log of one run."""
MOST_RUNS: Final = 25
"""Runs of a session whose logs are kept: a kernel that attaches shows those that no kernel has seen the end of."""
KEPT_SHARE: Final = 0.9
"""Part of the limit that is left when output is dropped, so that not every file drops some."""
KEPT_KINDS: Final[frozenset[EventKind]] = frozenset({"started", "phase", "note", "failed", "stopping", "end", "error"})
"""Kinds of events that stay when output is dropped."""


class RunLog:
    """The log of one run in this container. Any thread may call its methods.

    Args:
        directory: the directory of the run and of this container's life.
        commit: commits the Volume; blocks.
        say: shows a note in the notebook.
        run: the name in the frames of the run.
        limit: most bytes of the log.
    """

    def __init__(
        self,
        directory: Path,
        commit: Callable[[], object],
        say: Callable[[str], object],
        run: str,
        limit: int = RUN_BYTES,
    ) -> None:
        self._directory, self._say, self._run, self._limit = directory, say, run, limit
        self._frames: list[bytes] = []
        self._first = self._end = self._written = 0
        self._nbytes = self._unwritten = 0
        self._since = 0.0
        self._last: tuple[Event, ...] = ()
        """The last events, which are no frames yet."""
        self._values = b""
        self._files: dict[Span, int] = {}
        self._dropped = 0
        self._is_closed = self._has_failed = False
        self._lock = threading.RLock()
        self._commits = _Commits(commit)

    def add(self, frames: Iterable[Packed]) -> None:
        """Add frames. Those of an event in parts come together."""
        with self._lock:
            if self._is_closed:
                return
            for frame in frames:
                self._since = self._since if self._unwritten else monotonic()
                self._frames.append(frame.blob)
                self._nbytes += len(frame.blob)
                self._unwritten += len(frame.blob)
                self._end = max(self._end, frame.reaches)

    def add_last(self, events: tuple[Event, ...]) -> None:
        """Add the last events of the run. `close` makes frames of them: the answer does not wait for that."""
        self._last = events

    def add_values(self, blob: bytes) -> None:
        """Add the values that the run has returned. `close` writes them."""
        self._values = blob

    @property
    def is_unwritten(self) -> bool:
        """Whether the run has no file yet."""
        return not self._files

    @property
    def due_in(self) -> float | None:
        """Seconds until frames are to be written; None: all are in files."""
        if not self._unwritten:
            return None
        pause = PAUSE_SECONDS if self._written else FIRST_PAUSE_SECONDS
        return 0.0 if self._unwritten >= FULL_BYTES else max(0.0, self._since + pause - monotonic())

    def write_if_due(self) -> None:
        """Write what waits for long, or is much."""
        if self.due_in == 0.0:
            self.write()

    def write(self) -> None:
        """Write all frames. A failure is said once, and the frames wait for the next attempt."""
        with self._lock:
            if not self._unwritten:
                return
            span = Span(self._first, self._end)
            try:
                self._put(span.name, sealed_segment(Segment(span.first, span.end, tuple(self._frames))))
            except OSError as error:
                self._wait_for_disk(error)
                return
            if self._written > self._first:
                self._remove(Span(self._first, self._written))
            self._written, self._unwritten = self._end, 0
            self._files[span] = self._nbytes
            if self._nbytes >= GROWN_BYTES:
                self._frames, self._nbytes, self._first = [], 0, self._end
            if sum(self._files.values()) > self._limit:
                self._drop()
        self._commits.ask()

    def close(self, answer: Answer) -> None:
        """Write the rest, and how the run ended. Later output is not part of the log."""
        with self._lock:
            self.add(cut(self._run, map(for_log, self._last)))
            self._last = ()
            self.write()
            self._is_closed = True
            try:
                if self._values:
                    self._put(VALUES, self._values)
                self._put(END, sealed_end(answer))
            except OSError as error:
                self._wait_for_disk(error)
        self._commits.close(lambda: forget_old_runs(self._directory.parent.parent))

    def wait(self, seconds: float) -> None:
        """Wait until the Volume has the log of a closed run."""
        self._commits.wait(seconds)

    def _put(self, name: str, blob: bytes) -> None:
        """Write a file that appears as a whole."""
        part = self._directory / f".{name}"
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            self._directory.mkdir(0o700, parents=True, exist_ok=True)
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(blob)
            while view.nbytes:
                view = view[os.write(fd, view) :]
        finally:
            os.close(fd)
        part.replace(self._directory / name)

    def _remove(self, span: Span) -> None:
        self._files.pop(span, None)
        with contextlib.suppress(OSError):  # the cell has removed the file
            (self._directory / span.name).unlink()

    def _wait_for_disk(self, error: OSError) -> None:
        self._since = monotonic()
        if not self._has_failed:
            self._has_failed = True
            why = error.strerror or str(error)
            self._say(f"The session's Volume takes no output ({why}): who attaches later may miss some of it.")
        if self._nbytes > MOST_WAITING_BYTES:
            self._frames, self._nbytes, self._unwritten = [], 0, 1

    def _drop(self) -> None:
        """Replace the oldest files by one without their output."""
        files = sorted(self._files, key=lambda span: span.first)
        gone: list[Span] = []
        left = sum(self._files.values())
        while left > self._limit * KEPT_SHARE and len(files) > 1:
            gone.append(files.pop(0))
            left -= self._files[gone[-1]]
        if not gone:
            return
        span = Span(gone[0].first, gone[-1].end)
        kept, lost = self._kept(gone)
        self._dropped += sum(self._files[each] for each in gone)
        text = f"{self._dropped / 1e6:,.0f} MB of output were dropped: the log of a run holds {self._limit / 1e9:g} GB."
        events = sorted([*kept, Event(lost, "note", {"text": text, "dropped": True})], key=lambda each: each.number)
        frames = tuple(packed.blob for packed in cut(self._run, events))
        try:
            self._put(span.name, sealed_segment(Segment(span.first, span.end, frames)))
        except OSError as error:
            self._wait_for_disk(error)
            return
        for each in gone:
            if each != span:
                self._remove(each)
        self._files[span] = sum(map(len, frames))

    def _kept(self, spans: Iterable[Span]) -> tuple[list[Event], int]:
        """Return the events that stay of some files, and the first number that none of them has."""
        kept: list[Event] = []
        for span in spans:
            events: list[Event] = []
            reader = Assembler()
            reader.next_number = span.first
            with contextlib.suppress(OSError, DamagedError):  # the cell has removed or damaged the file
                events = reader.take(opened_segment((self._directory / span.name).read_bytes(), span))
            kept += [each for each in events if each.kind in KEPT_KINDS and not each.content.get("dropped")]
        numbers = {each.number for each in kept}
        return kept, next(n for n in range(len(numbers) + 1) if n not in numbers)


def forget_old_runs(directory: Path, most: int = MOST_RUNS) -> None:
    """Remove the logs of a session's runs but the newest ones. Those of a cluster's nodes go with that of node 0."""
    paths = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime)
    runs = list(dict.fromkeys(whole_run(run_of(path.name)) for path in paths))
    gone = set(runs[: max(0, len(runs) - most)])
    for path in paths:
        if whole_run(run_of(path.name)) in gone:
            shutil.rmtree(path, ignore_errors=True)


class _Commits:
    """Commits the Volume from a thread: at Modal, a commit takes as long as an upload."""

    def __init__(self, commit: Callable[[], object]) -> None:
        self._commit = commit
        self._before: Callable[[], object] = lambda: None
        self._asked = threading.Event()
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Commit soon."""
        self._asked.set()
        if self._thread is None:
            # If the cell has started all threads that the system allows, the next call starts this one.
            with contextlib.suppress(RuntimeError):
                self._thread = daemon("modal-gpu-log", self._run)

    def close(self, before: Callable[[], object]) -> None:
        """Call `before`, commit a last time, and end the thread."""
        self._before = before
        self._is_closed.set()
        self.ask()
        if self._thread is None:
            self._run()

    def wait(self, seconds: float) -> None:
        """Wait for the last commit."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._asked.wait()
            is_last = self._is_closed.is_set()
            self._asked.clear()
            if is_last:
                with contextlib.suppress(OSError):
                    self._before()
            # After a failure, the next commit has it; Modal commits when the container ends, too.
            with contextlib.suppress(BaseException):
                self._commit()
            if is_last and not self._asked.is_set():
                return
            self._is_closed.wait(PAUSE_SECONDS)
