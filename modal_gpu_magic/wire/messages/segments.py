"""The log of a detached run on the session's Volume: files of frames, named by the numbers of their events.

A file never changes. A longer one that begins at the same number, or the remains of dropped ones, may replace it; a
reader lists the files again then. Pure: no clock, no file.

  SESSION/runs/RUN/LIFE/000000000000-000000000120   the frames of the events 0 to 119
  SESSION/runs/RUN/LIFE/end                         how the run ended: the answer without its values
  SESSION/runs/RUN/LIFE/values                      what a cluster's run has returned: no container keeps it

LIFE is the container's: Modal repeats a run whose container it has replaced, with numbers from zero again. Each other
node of a cluster has a run of its own: RUN is then the run's id, a slash and the node's number, quoted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import Answer, Event, Frame
from modal_gpu_magic.wire.messages.seal import opened, sealed
from modal_gpu_magic.wire.messages.shapes import checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

END: Final = "end"
"""Name of the file that says how a run ended."""
VALUES: Final = "values"
"""Name of the file with the values that a run has returned, packed for a kernel that has none of the session's."""
RUNS: Final = "runs"
LINE_CHARACTERS: Final = 80
"""Most characters of a line of code in a list of runs."""
_NAME = re.compile(r"(\d{12})-(\d{12})")
_LIFE = re.compile(r"(\d{15})-([0-9a-zA-Z]+)")


@dataclass(frozen=True, slots=True)
class Span:
    """The events of a file, from `first` to before `end`."""

    first: int
    end: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return f"{self.first:012d}-{self.end:012d}"

    @classmethod
    def of(cls, name: str) -> Span | None:
        """Return the span in a file's name; None: the file is no segment."""
        found = _NAME.fullmatch(name)
        return cls(int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True, slots=True)
class Segment:
    """The content of a file: sealed frames, in order. Numbers of the span that no frame has were dropped."""

    first: int
    end: int
    frames: tuple[bytes, ...]

    @property
    def span(self) -> Span:
        """The numbers of its events."""
        return Span(self.first, self.end)

    def opened(self) -> Iterator[Frame]:
        """Yield the frames.

        Raises:
            DamagedError: a frame is damaged.
        """
        for frame in self.frames:
            yield checked(opened(frame), Frame)


def session_directory(session: str) -> str:
    """Return the name of a session's directory in the Volume. No two sessions have the same."""
    return quote(session, safe="").replace(".", "%2E")


def run_directory(session: str, run: str) -> str:
    """Return the directory of a run in the Volume."""
    return f"{session_directory(session)}/{RUNS}/{quote(run, safe='')}"


def runs_directory(session: str) -> str:
    """Return the directory of all runs of a session in the Volume."""
    return f"{session_directory(session)}/{RUNS}"


def run_of(path: str) -> str:
    """Return the run of a run's directory."""
    return unquote(path.rstrip("/").rpartition("/")[2])


def run_of_node(run: str, node: int) -> str:
    """Return the run's id at a node of a cluster: node 0 has the run itself."""
    return f"{run}/{node}" if node else run


def whole_run(run: str) -> str:
    """Return the id of the run that a node of a cluster takes part in."""
    return run.partition("/")[0]


def code_line(source: str) -> str:
    """Return the first line of a cell's code, for lists of runs."""
    line = next((line for line in source.splitlines() if line.strip() and line[:1] not in "#%"), "")
    return line.strip()[:LINE_CHARACTERS]


def life_name(began: float, generation: str) -> str:
    """Return the name of a life's directory. Names sort by time: `began` is in seconds since the epoch."""
    return f"{int(began * 1000):015d}-{generation}"


def generation_of(life: str) -> str | None:
    """Return the container's generation of a directory's name; None: the directory is no life's."""
    found = _LIFE.fullmatch(life)
    return found[2] if found else None


def to_read(spans: Iterable[Span], number: int) -> list[Span]:
    """Return the fewest spans that have the events from `number` on, without a gap, in order.

    Files behind a gap wait: the file in between was written earlier, and a list may be older than a file in it.
    """
    left = sorted(set(spans), key=lambda span: (span.first, -span.end))
    chosen: list[Span] = []
    while fitting := [span for span in left if span.first <= number < span.end]:
        best = max(fitting, key=lambda span: span.end)
        chosen.append(best)
        number = best.end
    return chosen


def sealed_segment(segment: Segment) -> bytes:
    """Return the bytes of a segment's file."""
    return sealed(segment)


def opened_segment(blob: bytes, span: Span) -> Segment:
    """Return the segment of a file.

    Raises:
        DamagedError: the bytes are not those of the file.
    """
    segment = checked(opened(blob), Segment)
    if segment.span != span:
        raise DamagedError(f"the log has the events {segment.span.name} in the file {span.name}.")
    return segment


def without_values(answer: Answer) -> Answer:
    """Return an answer as the log has it: its values are packed for the kernel that sent the run."""
    return replace(answer, values=None, stays=(), stale=(), shares={}, forgot=(), tail=(), states={}, is_event=True)


def sealed_end(answer: Answer) -> bytes:
    """Return the bytes of the file `end`."""
    return sealed(without_values(answer))


def opened_answer(blob: bytes) -> Answer:
    """Return the answer in a file `end` or `values`.

    Raises:
        DamagedError: the bytes are not those of the file.
    """
    return checked(opened(blob), Answer)


def for_log(event: Event) -> Event:
    """Return an event as the log has it: the event `end` without the values of its answer."""
    if event.kind != "end":
        return event
    content: dict[str, Any] = {**event.content, "answer": without_values(event.content["answer"])}
    return replace(event, content=content)
