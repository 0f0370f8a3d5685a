"""What crosses between kernel and container: one request, numbered events, one answer. Data only, no I/O.

Both sides import this module (the container's package is the kernel's exact version, checked in the answer), so
plain pickle of these frozen values is the wire format.

Event kinds and their `content` (payloads are those of Jupyter's iopub messages):

  stream               {"name": "stdout" | "stderr", "text": str}
  display_data         {"data": mime bundle, "metadata": {...}, "transient": {...}}
  update_display_data  the same
  execute_result       {"data": mime bundle, "metadata": {...}}
  error                {"ename": str, "evalue": str, "traceback": [str]}   in passing (`%run bad.py`): the cell goes on
  failed               {}                     the cell has failed: its error is shown before what comes now
  clear_output         {"wait": bool}
  comm_open, comm_msg, comm_close   {"content": {...}, "metadata": {...}, "buffers": [bytes]}
  input_request        {"prompt": str, "password": bool}
  note                 {"text": str}          a line of ours (an install), shown apart from the cell's output
  rank                 {"rank": int, "event": one of the above, "content": its content}   from a rank other than 0
  sample               {"time": float, "node": int, "running": bool, "rows": metrics.sample.Reading.rows}   nvidia-smi's
                       reading; `running`: of the time in which user code ran. Between cells late ones of the last run
  started              {"generation": str}    user code is about to begin
  end                  {"answer": Answer}     the whole answer, after a stop (the server throws the result away)

What a thread or child writes after its cell has ended belongs to that cell all the same: it has `"late": True`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES
from modal_gpu_magic.wire.messages.versions import Version
from modal_gpu_magic.wire.values.imports import Import

EventKind = Literal[
    "stream",
    "display_data",
    "update_display_data",
    "execute_result",
    "error",
    "failed",
    "clear_output",
    "comm_open",
    "comm_msg",
    "comm_close",
    "input_request",
    "note",
    "rank",
    "sample",
    "started",
    "end",
]

RESULT = "<result>"
"""Key of what travels among the values and is no variable: the last expression's value."""

LAST_RESULTS = frozenset({"_", "__", "___"})
"""The last results: each side binds them anew with every result, so no sync holds for them."""


def token_name(token: int) -> str:
    """What stands for an object where a name is asked for."""
    return f"<object {token}>"


def token_in(name: str) -> int | None:
    """The token that a name stands for; None: it is a variable's."""
    return int(name.removeprefix("<object ").removesuffix(">")) if name.startswith("<object ") else None


FRAME_BYTES = QUEUE_ITEM_BYTES // 2
"""Largest queue item we put (DESIGN decision 4)."""


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered message of a run. Numbers start at 0 and have no gaps."""

    number: int
    kind: EventKind
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One queue item: events of a run, or a slice of one that is too large for an item.

    `part` is `(index, count)` of the slice in `blob`, `number` that of the event it is cut from; no `events` then.
    """

    run: str
    events: tuple[Event, ...] = ()
    blob: bytes = b""
    part: tuple[int, int] | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """One name's part of a transfer."""

    name: str
    device: str | None = None
    """The GPU the value was on (`cuda:0`); None: it was on none."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Values crossing: one pickle stream, and the keys of the buffers that did not pass through it."""

    stream: bytes = b""
    """A pickle a name, in order; they share what the values have in common."""
    body: str = ""
    """Key of the stream if it is too large for a message; `stream` is empty then."""
    segments: tuple[Segment, ...] = ()
    buffers: tuple[str, ...] = ()
    """Keys of all that must be in the store: the out-of-band buffers in order, then `body`."""
    inline: dict[str, bytes] = field(default_factory=dict)
    """The buffers that travel in the message."""
    sources: dict[str, str] = field(default_factory=dict)
    """By file name, the text of functions that travel, for tracebacks and `inspect` over there."""
    nbytes: int = 0
    """Size of it all, bytes, also of what is over there already."""
    modules: tuple[str, ...] = ()
    """Modules whose functions and classes the stream has by name alone, and those that its functions import."""
    base: int = 0
    """Token of the stream's first object (`wire.pickles.identity`); 0: the objects get no tokens."""
    digest: bytes = b""
    """Of the stream, and of what is needed to read it: a damaged transfer is refused before anything is unpickled."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names whose values it brings."""
        return tuple(segment.name for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Modules:
    """The notebook's own modules: sent when a file of them is new, was changed, or was removed."""

    paths: tuple[str, ...] = ()
    """Of all their files. Below a directory that is put on `sys.path`, or, with a slash in front, below the container's
    copy of the project. A file that was sent and is not among them any more is removed."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Of those that the container does not have as they are now."""
    entries: tuple[str, ...] = ()
    """Directories of the project that are to be on `sys.path`, in order, as paths below the container's copy of it."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of the notebook's project, as it is here."""

    content: bytes
    mode: int = 0o644
    changed: int = 0
    """Time of its last change, nanoseconds of the epoch; 0: the time of its arrival."""


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """Files of the notebook's project for the container's copy of it. Paths begin with the name of the project."""

    place: str = ""
    """The working directory of the kernel. Empty: it is not said, and the container's stays."""
    folders: tuple[str, ...] = ()
    """Directories that are to exist, also if they are empty."""
    contents: dict[str, SentFile] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    """Files and directories that were sent, and are not here any more; what is in a directory comes before it."""


@dataclass(frozen=True, slots=True)
class FileThere:
    """A file on the other side."""

    path: str
    nbytes: int
    changed: int
    """Time of its last change, seconds of the epoch."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A value that stayed in the container: what the notebook shows in its place."""

    name: str
    type_name: str
    summary: str
    """One line: shape, dtype, device, size, or length."""
    why: str
    """Why it stayed: `5.1 GB does not fit --fetch 256MB`, `it does not pickle: it holds a lock`."""
    bundle: dict[str, Any] = field(default_factory=dict)
    """The value's own rich repr as a mime bundle (head of the frame and the like), bounded."""
    gone: bool = False
    """It was a rank's, and ended with it: nothing can fetch it."""
    shares: tuple[int, ...] = ()
    """Tokens of objects in it that the notebook has as they are: a cell that uses it may change them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell's own exception: what to show, and the exception itself if it pickles."""

    ename: str
    evalue: str
    traceback: tuple[str, ...]
    exception: Transfer | None = None
    """The exception itself, under the name `error`; None: it does not pickle."""


@dataclass(frozen=True, slots=True)
class Need:
    """A container that is not the one the run relied on: nothing of the user's ran. Send again what it lacks."""

    generation: str
    reason: Literal["generation", "buffers", "version", "python", "objects"]
    buffers: tuple[str, ...] = ()
    version: str = ""
    """Of this package, or of Python, over there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the container was asked for, for the cell to see (`modal_gpu_magic.current()`)."""

    specs: tuple[str, ...] = ()
    """The spec and its fallbacks, as the line has them; none: a container without GPUs."""
    backend: str = "local"
    """`cloud` or `local`."""
    names: dict[str, str] = field(default_factory=dict)
    """The catalog's name of a GPU, by what nvidia-smi calls it."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a cell, and the libraries in it, can see of the notebook's kernel."""

    parent: dict[str, Any] = field(default_factory=dict)
    """The request that asks for the cell, less what it asks: `header` and `metadata`."""
    stops: bool = True
    """Whether `breakpoint()` stops. It does nothing under a debugger that nobody has attached (ipykernel has one)."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a cell is spread over fresh processes, its ranks: by torchrun, or else one on each node of a cluster."""

    torchrun: bool = True
    processes: int | None = None
    """Ranks on each node; None: one for each GPU that is there, however many were asked for."""
    shown: frozenset[int] | None = frozenset()
    """Ranks whose output is shown beside rank 0's; None: all."""

    def shows(self, rank: int) -> bool:
        """Whether the output of a rank is seen."""
        return rank == 0 or self.shown is None or rank in self.shown


@dataclass(frozen=True, slots=True)
class Request:
    """One cell's execution, as the kernel asks for it."""

    run: str
    version: str
    source: str
    execution_count: int
    generation: str | None = None
    """The container life this run relies on; None: a fresh namespace is fine."""
    values: Transfer = field(default_factory=Transfer)
    drops: tuple[str, ...] = ()
    """Names deleted here since the last sync, or whose values there are old: deleted there before the cell."""
    forgot: tuple[int, ...] = ()
    """Tokens of objects that this side gave up."""
    fetched: tuple[int, ...] = ()
    """Transfers asked for since the last run that this side took in, by their first token."""
    named: tuple[int, ...] = ()
    """Tokens of objects that names here are bound to which the container has not under a name."""
    reads: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    """Of `reads`, those the cell may do without."""
    binds: tuple[str, ...] = ()
    """Names the cell binds anew; one that it only augments (`v += 1`) is among `mutates`."""
    deletes: tuple[str, ...] = ()
    """Names the cell may unbind."""
    fetch_bytes: int = 256 << 20
    fetch_names: tuple[str, ...] = ()
    """`--out`: these come back whatever their size."""
    mutates: frozenset[str] = frozenset()
    """Names the cell may change in place, as far as its text tells."""
    import_statements: dict[str, tuple[Import, ...]] = field(default_factory=dict)
    """By name, the import statements of the cell that may bind it."""
    stars: tuple[str, ...] = ()
    """Modules the cell star-imports."""
    imports: dict[str, str] = field(default_factory=dict)
    """Modules the cell imports, each with what brings it (`{"pandas": "pandas==2.2.1"}`): installed if missing."""
    installs: tuple[str, ...] = ()
    """Requirements of `--pip` that the image lacks."""
    python: str = ""
    """The notebook's minor, `3.11`: functions cross to no other."""
    versions: dict[str, Version] = field(default_factory=dict)
    """By module, packages of the values at the notebook's version, as far as this container was not told them."""
    modules: Modules | None = None
    """The notebook's own modules, if the container does not have them as they are now."""
    files: ProjectFiles = field(default_factory=ProjectFiles)
    volumes: tuple[str, ...] = ()
    """Names of the user's Volumes that are mounted: reloaded before the cell, committed after it."""
    clean: bool = False
    timeout: float | None = 3600.0
    store: str | None = None
    """Directory of shared buffers (local backend); None: buffers travel inline."""
    stdin: bool = False
    """Whether someone can answer `input()`."""
    spread: Spread | None = None
    """Run in ranks; None: in the session's own process."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What has changed in the process around the values: items by the name of their state (`wire.values`)."""
    asked: Asked = field(default_factory=Asked)
    kernel: Kernel = field(default_factory=Kernel)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a run ended, with the values that come home."""

    generation: str
    version: str
    need: Need | None = None
    frames: int = 0
    """Queue items put for this run."""
    events: int = 0
    """Events emitted for this run in all: the reader has missed some if its count is lower."""
    tail: tuple[Event, ...] = ()
    """Events younger than a batch: they never were in the queue."""
    values: Transfer | None = None
    stays: tuple[Stay, ...] = ()
    stale: tuple[int, ...] = ()
    """Tokens of objects whose current content stays there."""
    forgot: tuple[int, ...] = ()
    """Tokens of objects that that side gave up."""
    gone: tuple[str, ...] = ()
    """Names the cell deleted."""
    imported: dict[str, Import] = field(default_factory=dict)
    """Names the cell bound by import statements, which have no values: they are imported there when used."""
    looks: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Type and one-line summary of values that come home: shown if one cannot be made there."""
    submodules: tuple[str, ...] = ()
    """Modules below imported ones that the cell's text names: `import xml.dom` binds `xml` and loads both."""
    failed: dict[str, str] = field(default_factory=dict)
    """Names sent that could not be made there, with the reason (a package the image lacks, another version of it)."""
    versions: dict[str, str] = field(default_factory=dict)
    """By module, the versions there of the packages whose objects come home."""
    failure: Failure | None = None
    stopped: bool = False
    timed_out: bool = False
    started_at: float = 0.0
    ended_at: float = 0.0
    booted_at: float = 0.0
    names: tuple[str, ...] = ()
    """User names alive in the container's namespace after the run."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the cell changed in the process around the values, as in `Request`."""
    wrote: tuple[tuple[str, int], ...] = ()
    """Files the cell made or changed below the working directory, outside Volumes: path and bytes, biggest first."""
    refused: tuple[str, ...] = ()
    """Files sent that were not written, because a cell has changed them there."""
    simulated: bool = False
    """The container's GPUs are not there: the local control plane answers for them."""
