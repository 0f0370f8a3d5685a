"""Read the log of a detached run from the session's Volume: what the queue did not bring, in order."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from modal_gpu_magic.errors import DamagedError, RunError
from modal_gpu_magic.wire.messages.log import Assembler
from modal_gpu_magic.wire.messages.segments import (
    END,
    VALUES,
    Segment,
    Span,
    generation_of,
    opened_answer,
    opened_segment,
    run_directory,
    to_read,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from modal_gpu_magic.sdk.held import Tell
    from modal_gpu_magic.wire.messages.events import Answer, Event

LOOK_SECONDS: Final = 2.0
"""Seconds between two looks at the log and at the session's owner while nothing is missing."""
SOON_SECONDS: Final = 0.3
"""The same while an event is missing, or the kernel has just attached: another reader may have taken frames."""
ATTACHED_SECONDS: Final = 8.0
"""Seconds after the beginning for which the short interval holds."""
MOST_LOOKS: Final = 5
"""Times that the files are listed again because the container has replaced one of them."""
READS: Final = 8
"""Files that are read at the same time."""


class Files(Protocol):
    """The Volume of a session."""

    def paths(self, directory: str) -> list[str]:
        """Return the paths of all files below a directory; empty: there is none."""

    def content(self, path: str) -> bytes | None:
        """Return the content of a file; None: the file does not exist any more."""


class LogReader:
    """Reads the log of one run and passes on what its pump lacks.

    `tell` gets `("segment", (generation, Segment))` in order, and once `("logged_end", Answer)`.

    Args:
        files: the session's Volume.
        session: the session's name.
        run: the run's id.
        tell: receives the messages.
        look: called at every look, from the reader's thread.
        is_eager: whether the kernel has just attached.
    """

    def __init__(
        self, files: Files, session: str, run: str, tell: Tell, look: Callable[[], object], *, is_eager: bool = False
    ) -> None:
        self._files, self._directory, self._tell, self._look = files, run_directory(session, run), tell, look
        self._life, self._number = "", 0
        self._is_behind = False
        self._told: dict[str, int] = {}
        self._has_ended = False
        self._eager_until = time.monotonic() + ATTACHED_SECONDS if is_eager else 0.0
        self._closed = threading.Event()

    def at(self, life: str, number: int, *, is_behind: bool) -> None:
        """Note what the pump has: the container's generation, the next number, and whether later events wait."""
        self._life, self._number, self._is_behind = life, number, is_behind

    def close(self) -> None:
        """End the thread."""
        self._closed.set()

    @property
    def is_closed(self) -> bool:
        """Whether the thread has ended, or will not begin."""
        return self._closed.is_set()

    def run(self) -> None:
        """Look at the log until it is closed. Failures of the network are ignored: the next look comes."""
        while not self._closed.wait(self._pause):
            with contextlib.suppress(Exception):  # the queue and the call report an outage
                self._look()
                self.read()

    @property
    def _pause(self) -> float:
        eager = self._is_behind or time.monotonic() < self._eager_until
        return SOON_SECONDS if eager else LOOK_SECONDS

    def read(self) -> None:
        """Pass on what the log has and the pump lacks."""
        for _ in range(MOST_LOOKS):
            lives = self._lives()
            last = next(reversed(lives), "")
            if all(self._read_life(life, names, is_last=life == last) for life, names in lives.items()):
                return

    def rest(self, number: int, seconds: float, is_followed: Callable[[], bool]) -> tuple[Event, ...]:
        """Return the events of the run's last life from `number` on, once the log has the end.

        Args:
            number: the number of the first event.
            seconds: how long to wait for the end.
            is_followed: whether the run's kernel has sent another run since. It has shown the events, and the container
                has written no log if the next run came at once: then none are returned.

        Raises:
            RunError: the log does not have the end in time.
        """
        assembler = Assembler()
        assembler.next_number = number
        events: list[Event] = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            lives = self._lives()
            if not lives and is_followed():
                return ()
            life = next(reversed(lives), "")
            names = lives.get(life, [])
            for span, blob in self._contents(life, to_read(_spans(names), assembler.next_number)):
                if blob is None:
                    break
                events += assembler.take(opened_segment(blob, span))
            else:
                if END in names:
                    return tuple(events)
            time.sleep(SOON_SECONDS)
        raise RunError("the session's Volume does not have the end of the run's output.")

    def _lives(self) -> dict[str, list[str]]:
        """Return the directories of the lives in order of time, with the names of their files."""
        lives: dict[str, list[str]] = {}
        for path in sorted(self._files.paths(self._directory)):
            *_, life, name = path.split("/")
            if generation_of(life) is not None:
                lives.setdefault(life, []).append(name)
        current = next((life for life in lives if generation_of(life) == self._life), "")
        return {life: names for life, names in lives.items() if life >= current}

    def _read_life(self, life: str, names: list[str], *, is_last: bool) -> bool:
        """Pass on the events of one life; return False if a file has been replaced meanwhile."""
        generation = generation_of(life) or ""
        number = max(self._told.get(generation, 0), self._number if generation == self._life else 0)
        for span, blob in self._contents(life, to_read(_spans(names), number)):
            if blob is None:
                return False
            self._tell("segment", (generation, opened_segment(blob, span)))
            self._told[generation] = span.end
        if is_last and END in names and not self._has_ended:
            blob = self._files.content(f"{self._directory}/{life}/{END}")
            if blob is None:
                return False
            self._has_ended = True
            self._tell("logged_end", opened_answer(blob))
        return True

    def _contents(self, life: str, spans: Sequence[Span]) -> Iterator[tuple[Span, bytes | None]]:
        """Yield the files of some spans, several of which are read at a time."""
        paths = [f"{self._directory}/{life}/{span.name}" for span in spans]
        if len(paths) <= 1:
            yield from zip(spans, map(self._files.content, paths), strict=True)
            return
        with ThreadPoolExecutor(READS, "modal-gpu-log") as pool:
            yield from zip(spans, pool.map(self._files.content, paths), strict=True)


def _spans(names: list[str]) -> list[Span]:
    return [span for name in names if (span := Span.of(name))]


def returned_values(files: Files, session: str, run: str) -> Answer | None:
    """Return the values that a cluster's run has returned, as its log has them; None: the log has none.

    Raises:
        DamagedError: the file is damaged.
    """
    paths = [path for path in sorted(files.paths(run_directory(session, run))) if path.endswith(f"/{VALUES}")]
    blob = files.content(paths[-1]) if paths else None
    return None if blob is None else opened_answer(blob)


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as its log shows it. Times are of the container's clock, seconds since the epoch.

    Attributes:
        booted_at: when its container began; 0: not known.
        started_at: when the run reached the container.
        ended_at: when it ended; None: it has not.
        last_line: the last line that it has printed; empty: none in the newest files.
        call: Modal's id of the call.
        count: the cell's execution count.
        timeout: the cell's timeout, seconds; None: Modal's limit.
        code: the first line of the cell's code.
    """

    booted_at: float = 0.0
    started_at: float = 0.0
    ended_at: float | None = None
    last_line: str = ""
    call: str = ""
    count: int = 0
    timeout: float | None = None
    code: str = ""


def first_and_last(files: Files, session: str, run: str) -> Summary | None:
    """Return what the first and the newest files of a run's last life say; None: the run has no log."""
    for _ in range(MOST_LOOKS):
        seen = _first_and_last(files, session, run)
        if seen is None or seen.booted_at:
            return seen
    return seen  # the container has replaced a file again and again


def _first_and_last(files: Files, session: str, run: str) -> Summary | None:
    directory = run_directory(session, run)
    by_life: dict[str, list[str]] = {}
    for path in sorted(files.paths(directory)):
        *_, life, name = path.split("/")
        if generation_of(life) is not None:
            by_life.setdefault(life, []).append(name)
    life = next(reversed(by_life), "")
    names = by_life.get(life, [])
    spans = sorted(_spans(names), key=lambda span: (span.end, -span.first))
    if not spans:
        return None

    def segment(span: Span) -> Segment | None:
        blob = files.content(f"{directory}/{life}/{span.name}")
        with contextlib.suppress(DamagedError):
            return None if blob is None else opened_segment(blob, span)
        return None

    first, newest = segment(min(spans, key=lambda span: span.first)), [segment(span) for span in spans[-2:]]
    end = files.content(f"{directory}/{life}/{END}") if END in names else None
    started: dict[str, Any] = next((e.content for e in _events(first) if e.kind == "started"), {})
    lines = [line for each in reversed(newest) if (line := _line_in(each))]
    return Summary(
        started.get("booted_at", 0.0),
        started.get("time", 0.0),
        opened_answer(end).made_at if end is not None else None,
        lines[0] if lines else "",
        *(started.get(name, default) for name, default in _SENT.items()),
    )


_SENT: Final[dict[str, Any]] = {"call": "", "count": 0, "timeout": None, "code": ""}
"""What the event `started` says of the request, and the same where it does not."""


def _events(segment: Segment | None) -> list[Event]:
    return [event for frame in segment.opened() for event in frame.events] if segment is not None else []


def _line_in(segment: Segment | None) -> str:
    texts: list[str] = [event.content["text"] for event in _events(segment) if event.kind == "stream"]
    lines = [line.strip() for line in "".join(texts).replace("\r", "\n").splitlines()]
    return next((line for line in reversed(lines) if line), "")
