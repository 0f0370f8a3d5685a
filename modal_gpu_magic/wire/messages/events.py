"""The messages of a run: one request, numbered events, one answer. Data only, no I/O.

Both sides import this module (the container's package is the kernel's exact version, checked in the answer), so
plain pickle of these frozen values is the wire format.

Event kinds and their `content` (payloads are those of Jupyter's iopub messages):

  stream               {"name": "stdout" | "stderr", "text": str}
  display_data         {"data": mime bundle, "metadata": {...}, "transient": {...}}
  update_display_data  the same
  execute_result       {"data": mime bundle, "metadata": {...}}
  error                {"ename": str, "evalue": str, "traceback": [str]}   during the cell (`%run bad.py`)
  failed               {}                     the cell has failed: show its error before the events that follow
  clear_output         {"wait": bool}
  comm_open, comm_msg, comm_close   {"content": {...}, "metadata": {...}, "buffers": [bytes]}
  input_request        {"prompt": str, "password": bool}
  answered             {}                     the question of a detached run has its answer: nobody is to ask again
  note                 {"text": str}          a line by this package (an install), shown outside the cell's output
  rank                 {"rank": int, "event": one of the above, "content": its content}   from a rank other than 0
  sample               {"time": float, "node": int, "running": bool, "rows": metrics.sample.Reading.rows}
                       a reading of nvidia-smi; `running`: user code ran at that time. Between cells: late events of
                        the last run. If known, also `Reading.beside`: "host": HostSample.row, "processes": rows
  started              {"generation": str, "time": float, "booted_at": float, "call": str},
                       of a detached run also {"count": int, "timeout": float | None, "code": str}
                       the run has reached the container; both times are of the container's clock; `call`: Modal's id
  phase                {"phase": RunPhase, "subject": str, "time": float}   what the container does from `time` on
  stopping             {}                     the ■ has arrived in the container
  end                  {"answer": Answer}     the whole answer, after a stop (the server discards the result then)

Output that a thread or child process writes after its cell has ended belongs to that cell and has `"late": True`.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, fields
from typing import Any, Literal, SupportsIndex

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES
from modal_gpu_magic.wire.messages.compact import PROTOCOL, Compact
from modal_gpu_magic.wire.messages.versions import Version
from modal_gpu_magic.wire.values.imports import Import
from modal_gpu_magic.wire.values.sound_text import sound

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
    "answered",
    "note",
    "rank",
    "sample",
    "started",
    "phase",
    "stopping",
    "end",
]

RunPhase = Literal["waiting", "starting", "restoring", "installing", "starting ranks", "running", "saving"]
"""What a container does for a run. The container itself reports the phases from `restoring` on."""

HEADER_COMMENT = "# %%modal_gpu"
"""Beginning of the comment above a cell's source, in the place of the cell's header: line numbers stay."""

RESULT = "<result>"
"""Key of the value of the last expression among the transferred values; no variable has this name."""

LAST_RESULTS = frozenset({"_", "__", "___"})
"""IPython's names of the last results: each side rebinds them at every result, so they are not synchronised."""

OUTPUTS = ("_oh", "Out")
"""IPython's names of the dict of all results by the cells' numbers. Each side has its own; values cross as `_12`."""


def is_numbered(name: object) -> bool:
    """Whether IPython stores the result of a numbered cell under a name: `_12`."""
    return isinstance(name, str) and name[:1] == "_" and name[1:].isdigit()


def is_result(name: str) -> bool:
    """Whether IPython stores a cell's result under a name: `_`, `__`, `_12`."""
    return name in LAST_RESULTS or is_numbered(name)


def token_name(token: int) -> str:
    """Return the placeholder name of an object that has a token but no variable name."""
    return f"<object {token}>"


def token_in(name: str) -> int | None:
    """Return the token of a placeholder name; None: the name is a variable's."""
    return int(name.removeprefix("<object ").removesuffix(">")) if name.startswith("<object ") else None


FRAME_BYTES = QUEUE_ITEM_BYTES // 2
"""Largest queue item that this package puts, in bytes (DESIGN decision 4)."""


@dataclass(frozen=True, slots=True)
class Event:
    """One numbered message of a run. Numbers start at 0 without gaps."""

    number: int
    kind: EventKind
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One queue item: events of a run, or one slice of an event that is too large for an item.

    Attributes:
        run: identifier of the run.
        events: the events; empty: the frame is a slice.
        blob: bytes of the slice.
        part: index of the slice and number of slices; None: the frame is no slice.
        number: number of the event that the slice is cut from.
    """

    run: str
    events: tuple[Event, ...] = ()
    blob: bytes = b""
    part: tuple[int, int] | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a transfer that has one name's value."""

    name: str
    device: str | None = None
    """The GPU that the value was on (`cuda:0`); None: the value was on no GPU."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Values in transit: one pickle stream, and the keys of the out-of-band buffers."""

    stream: bytes = b""
    """One pickle per name, in order; the pickles share one memo."""
    body: str = ""
    """Key of the stream in the store if the stream is too large for a message; `stream` is empty then."""
    segments: tuple[Segment, ...] = ()
    buffers: tuple[str, ...] = ()
    """Keys of all buffers in the store: the out-of-band buffers in order, then `body`."""
    inline: dict[str, bytes] = field(default_factory=dict)
    """The buffers that the message contains, by key."""
    sources: dict[str, str] = field(default_factory=dict)
    """Source lines of the functions in the stream, by file name, for the receiver's tracebacks and `inspect`."""
    nbytes: int = 0
    """Size of stream and buffers in bytes, including buffers that the store already had."""
    modules: tuple[str, ...] = ()
    """Modules whose functions and classes the stream has by name, and modules that its functions import."""
    base: int = 0
    """Token of the stream's first object (`wire.pickles.identity`); 0: the objects get no tokens."""
    digest: bytes = b""
    """Of the stream, and of what is needed to read it: a damaged transfer is refused before anything is unpickled."""
    cells: dict[str, int] = field(default_factory=dict)
    """Execution counts of the cells that defined these functions, by file name, for the receiver's tracebacks."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(segment.name for segment in self.segments)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[Transfer], tuple[Any, ...]]:
        """Return the fields. `Compact` keeps the buffers of the message outside its pickle, so they are not copied."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        if protocol.__index__() >= PROTOCOL and type(self.inline) is dict:
            content["inline"] = {key: _uncopied(buffer) for key, buffer in self.inline.items()}
        return type(self), tuple(content.values())


def _uncopied(buffer: bytes) -> Any:
    return pickle.PickleBuffer(buffer) if type(buffer) is bytes else buffer


@dataclass(frozen=True, slots=True)
class Modules:
    """The notebook's own modules: sent after a file of them was added, changed or removed."""

    paths: tuple[str, ...] = ()
    """Paths of all files of the modules. A path is relative to a directory on `sys.path`, or, with a leading slash, to
    the container's copy of the project. The container removes a file that was sent and is no longer listed."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Contents by path, for the files whose current content the container does not have."""
    entries: tuple[str, ...] = ()
    """Directories of the project to put on `sys.path`, in order, relative to the container's copy of the project."""


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file of the notebook's project, as it is on the sender's side."""

    content: bytes
    mode: int = 0o644
    changed: int = 0
    """Time of the last change in nanoseconds since the epoch; 0: the time of arrival."""


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """Files of the notebook's project for the container's copy of it. Paths begin with the name of the project."""

    place: str = ""
    """The working directory of the kernel. Empty: the container keeps its own."""
    folders: tuple[str, ...] = ()
    """Directories to create, including empty ones."""
    contents: dict[str, SentFile] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    """Files and directories that were sent and no longer exist; the contents of a directory precede the directory."""
    followed: str = ""
    """The directory to which the last cell changed in the container, if the kernel has changed to it as well."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in the container or in a Volume."""

    path: str
    nbytes: int
    changed: int
    """Time of the last change in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class StayedValue:
    """The facts that the notebook shows of a value that was not returned from the container."""

    name: str
    type_name: str
    summary: str
    """One line: shape, dtype, device, size, or length."""
    why: str
    """Why the value was not returned: `5.1 GB, over --fetch 256MB`, `it does not pickle: it holds a lock`."""
    bundle: dict[str, Any] = field(default_factory=dict)
    """The value's own rich repr as a mime bundle of limited size (the head of a data frame, for example)."""
    gone: bool = False
    """The value belonged to a rank that has ended, so that nothing can fetch the value."""
    same_as: str = ""
    """A name or placeholder name of which the notebook has a remote value: of this very object. Empty: it has none."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a value that only the container has shares with the notebook: a cell that reads the value may reach both."""

    tokens: tuple[int, ...] = ()
    """Tokens of the objects in the value."""
    names: tuple[str, ...] = ()
    """Names of the notebook that functions in the value read."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell's own exception: its text, and the exception itself if the exception pickles."""

    ename: str
    evalue: str
    traceback: tuple[str, ...]
    exception: Transfer | None = None
    """The exception itself, under the name `error`; None: the exception does not pickle."""

    def __post_init__(self) -> None:
        texts = {
            "ename": sound(self.ename),
            "evalue": sound(self.evalue),
            "traceback": tuple(map(sound, self.traceback)),
        }
        for name, text in texts.items():
            object.__setattr__(self, name, text)


@dataclass(frozen=True, slots=True)
class Need:
    """The container is not the one that the request requires. No user code ran; the kernel sends the missing parts."""

    generation: str
    reason: Literal[
        "generation", "buffers", "version", "python", "objects", "parts", "owner", "packages", "restored", "rewound"
    ]
    """`owner`: another kernel has attached to the session.
    `packages`: pip has failed; the end of its log is in `why`.
    `restored`: the container continues the request's generation from the saved state, without files and modules.
    `rewound`: it has the values of `restored` from an older state, and knows none of the notebook's objects."""
    buffers: tuple[str, ...] = ()
    version: str = ""
    """Version of this package, or of Python, in the container."""
    restored: tuple[str, ...] = ()
    """Names whose values the container has or can load."""
    why: dict[str, str] = field(default_factory=dict)
    """The reason why names are lost; under the empty name, the reason for all others."""
    packages: tuple[str, ...] = ()
    """Requirements of `--pip` that could not be installed into the running container."""
    forgot: tuple[int, ...] = ()
    """Tokens of objects that the container lacks."""


@dataclass(frozen=True, slots=True)
class RunTrace:
    """A run that the kernel knows to have ended: a saved state that is older lacks what the run has changed.

    Attributes:
        run: the run.
        names: the names that it may have changed; None: any name.
    """

    run: str
    names: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """The resources requested for the container, as `modal_gpu_magic.current()` shows them to a cell."""

    specs: tuple[str, ...] = ()
    """The spec and its fallbacks, as written on the line; empty: a container without GPUs."""
    backend: str = "local"
    """`cloud` or `local`."""
    names: dict[str, str] = field(default_factory=dict)
    """The catalog's names of the GPUs, by nvidia-smi's names."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """The facts about the notebook's kernel that a cell and its libraries can read."""

    parent: dict[str, Any] = field(default_factory=dict)
    """`header` and `metadata` of the execute request, without the content."""
    stops: bool = True
    """Whether `breakpoint()` stops. It does not if a debugger is loaded and not attached (ipykernel loads one)."""


@dataclass(frozen=True, slots=True)
class DistributedOptions:
    """How a cell is run in new processes (ranks): by torchrun, or one rank on each node of a cluster."""

    torchrun: bool = True
    processes: int | None = None
    """Ranks on each node; None: one for each GPU of the node, whatever number was requested."""
    shown: frozenset[int] | None = frozenset()
    """Ranks whose output is shown in addition to rank 0's; None: all ranks."""

    def shows(self, rank: int) -> bool:
        """Whether the output of a rank is shown."""
        return rank == 0 or self.shown is None or rank in self.shown


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run may cost, as time: the container itself stops the run at a budget, also while no kernel watches."""

    seconds: float
    """Seconds that the run may be billed, the start of a container for it included."""
    words: str
    """The budget: `budget_cell of $5.00`."""


@dataclass(frozen=True, slots=True)
class Request(Compact):
    """The kernel's request to execute one cell."""

    run: str
    version: str
    source: str
    execution_count: int
    generation: str | None = None
    """The container generation that this run requires; None: a new namespace is sufficient."""
    values: Transfer = field(default_factory=Transfer)
    drops: tuple[str, ...] = ()
    """Names to delete in the container before the cell: deleted in the kernel, or out of date in the container."""
    forgot: tuple[int, ...] = ()
    """Tokens of objects that the kernel no longer has."""
    fetched: tuple[int, ...] = ()
    """Transfers fetched since the last run and loaded in the kernel, by their first token."""
    holds: tuple[tuple[int, str], ...] = ()
    """Numbers of remote values that the kernel refers to by more than their name, with that name: the container holds
    the values, whatever the name is bound to later."""
    released: tuple[int, ...] = ()
    """Numbers of held values that the kernel has given up."""
    aliases: tuple[tuple[str, int], ...] = ()
    """Names that the cell may read and that the kernel has bound to held values, with their numbers."""
    named: tuple[int, ...] = ()
    """Tokens of objects that a name in the kernel is bound to and no name in the container is."""
    places: dict[int, str] = field(default_factory=dict)
    """By token of an object of `values`, the name of the place that the user's modules have the object at."""
    own_modules: tuple[str, ...] = ()
    """The user's modules that the kernel has imported."""
    reads: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()
    """Names of `reads` that the cell may not need."""
    binds: tuple[str, ...] = ()
    """Names that the cell binds. A name that the cell only augments (`v += 1`) is in `mutates`."""
    deletes: tuple[str, ...] = ()
    """Names that the cell may delete."""
    fetch_bytes: int = 256 << 20
    fetch_names: tuple[str, ...] = ()
    """Names of `--out`: their values are returned whatever their size."""
    mutates: frozenset[str] = frozenset()
    """Names whose values the cell may change in place, according to its text."""
    import_statements: dict[str, tuple[Import, ...]] = field(default_factory=dict)
    """By name, the import statements of the cell that may bind the name."""
    stars: tuple[str, ...] = ()
    """Modules that the cell star-imports."""
    submodules: tuple[str, ...] = ()
    """Submodules that the cell reads through packages."""
    imports: dict[str, str] = field(default_factory=dict)
    """Modules that the cell imports, with their requirements (`{"pandas": "pandas==2.2.1"}`): installed if missing."""
    installs: tuple[str, ...] = ()
    """Requirements of `--pip` that the image lacks."""
    python: str = ""
    """The kernel's minor version of Python, `3.11`: functions cannot be sent to another one."""
    versions: dict[str, Version] = field(default_factory=dict)
    """By module, the kernel's versions of the packages of the values; without those sent to this container before."""
    modules: Modules | None = None
    """The notebook's own modules; None: the container has their current state."""
    files: ProjectFiles = field(default_factory=ProjectFiles)
    volumes: tuple[str, ...] = ()
    """Names of the user's mounted Volumes: reloaded before the cell, committed after the cell."""
    clean: bool = False
    timeout: float | None = 3600.0
    spending: Spending | None = None
    """The run's budget; None: no budget is set."""
    store: str | None = None
    """Directory of shared buffers (local backend); None: the buffers are in the message."""
    stdin: bool = False
    """Whether the front end can answer `input()`."""
    background: str = ""
    """The name of a background cell, which nobody answers; empty: the notebook waits for the cell."""
    distributed: DistributedOptions | None = None
    """How to run the cell in ranks; None: run the cell in the session's own process."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Changed process state, such as options and random generators: items by state name (`wire.process`)."""
    asked: Asked = field(default_factory=Asked)
    kernel: Kernel = field(default_factory=Kernel)
    save: int = 0
    """Size limit of the saved state in bytes (`--save`); 0: nothing is saved."""
    session_volume: str = ""
    """Modal's id of the session Volume."""
    history: tuple[RunTrace, ...] = ()
    """The runs that a saved state may be of, in order, with all changes since the one before."""
    restores_any: bool = False
    """A new container restores whatever is saved: the kernel attaches to the session, and knows nothing of it."""
    owner: str = ""
    """Id of the kernel's claim on a detached session: a later claim ends an earlier one. Empty: an attached session."""
    log: str = ""
    """Name of the session whose directory in the session Volume has the log of the run; empty: the run has no log."""


@dataclass(frozen=True, slots=True)
class Answer(Compact):
    """The result of a run, with the values that return to the kernel."""

    generation: str
    version: str
    need: Need | None = None
    frames: int = 0
    """Number of queue items put for this run."""
    events: int = 0
    """Number of events of this run: a reader with fewer events has missed some."""
    tail: tuple[Event, ...] = ()
    """The newest events, which were not put into the queue."""
    values: Transfer | None = None
    stays: tuple[StayedValue, ...] = ()
    redescribed: tuple[StayedValue, ...] = ()
    """Values that stayed after an earlier run and look different now; `why` is empty."""
    stale: tuple[int, ...] = ()
    """Tokens of objects whose current content is in the container only."""
    shares: dict[str, Shared] = field(default_factory=dict)
    """By name of a value that only the container has, what the value shares, where that has changed."""
    places: dict[int, str] = field(default_factory=dict)
    """As `Request.places`."""
    forgot: tuple[int, ...] = ()
    """Tokens of objects that the container no longer has."""
    gone: tuple[str, ...] = ()
    """Names that the cell deleted."""
    imported: dict[str, Import] = field(default_factory=dict)
    """Names that the cell bound by import statements; no values are sent: the kernel imports them on first use."""
    looks: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Type and one-line summary of the returned values: shown if the kernel cannot load a value."""
    submodules: tuple[str, ...] = ()
    """Submodules of imported modules that the cell's text names: `import xml.dom` binds `xml` and loads both."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by name, for sent values that the container could not load (a missing package, another version)."""
    versions: dict[str, str] = field(default_factory=dict)
    """By module, the container's versions of the packages whose objects are returned."""
    failure: Failure | None = None
    stopped: bool = False
    timed_out: bool = False
    over: str = ""
    """The budget that ended the run; empty: the timeout, or neither. `timed_out` is set as well."""
    started_at: float = 0.0
    ended_at: float = 0.0
    booted_at: float = 0.0
    """When the container began; this and all other times are of the container's clock."""
    phases: tuple[tuple[RunPhase, float], ...] = ()
    """The phases of the run, each with the time when it began."""
    made_at: float = 0.0
    """When the answer was made."""
    names: tuple[str, ...] = ()
    """User names in the container's namespace after the run."""
    container: str = ""
    """The container; its generation may be older, because it restored the namespace of another one."""
    saved_run: str = ""
    """The last run whose changes are saved; empty: none."""
    last_run: str = ""
    """The last run that may have changed the namespace; empty: none."""
    lost: dict[str, str] = field(default_factory=dict)
    """Names whose values could not be restored, with the reason."""
    is_event: bool = False
    """The whole answer is in the run's `end` event: the result of the call would have been sent as a blob."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Process state that the cell changed, in the form of `Request.states`."""
    wrote: tuple[tuple[str, int], ...] = ()
    """Files that the cell created or changed in the working directory, outside Volumes: path, bytes; largest first."""
    refused: tuple[str, ...] = ()
    """Sent files that were not written, because a cell has changed them in the container."""
    simulated: bool = False
    """The container has no real GPUs: the local control plane simulates them."""
    directory: str = ""
    """The working directory to which the cell changed: its path in the copy of the project, or an absolute path
    elsewhere in the container. Empty: the cell ended in the directory in which it began."""
