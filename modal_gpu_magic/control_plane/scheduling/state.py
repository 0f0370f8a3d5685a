"""State of the control plane: apps, functions, calls, inputs, containers and small objects. No I/O.

Objects refer to each other directly; `State` finds them by id. Protobuf messages are kept where the SDK's definition
is authoritative (a Function, an input's payload, a result).
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.broadcast import Broadcast
from modal_gpu_magic.line.spec import GpuSpec

LOG_BYTES = 32 << 20
"""Most bytes of an app's log that are kept; the oldest entries are dropped."""

APPS_KEPT = 8
"""Ended apps whose logs and results can still be read. Modal keeps them for days, and not in a machine's memory."""

_counters: Counter[str] = Counter()


def new_id(prefix: str) -> str:
    """Return a new object id such as `fc-0000129f3ab0c46d81e5f0`, in readable order. The SDK requires exactly one dash.

    Who has an id may use the object, so an id cannot be guessed.
    """
    _counters[prefix] += 1
    return f"{prefix}-{_counters[prefix]:06d}{os.urandom(8).hex()}"


@dataclass(slots=True, eq=False)
class Log:
    """Log entries of one app, numbered from 1; the oldest are dropped."""

    batches: deque[api_pb2.TaskLogsBatch] = field(default_factory=deque)
    count: int = 0
    size: int = 0
    broadcast: Broadcast = field(default_factory=Broadcast)

    def append(self, batch: api_pb2.TaskLogsBatch) -> None:
        """Number `batch` and append it."""
        self.count += 1
        batch.entry_id = str(self.count)
        self.batches.append(batch)
        self.size += batch.ByteSize()
        while self.size > LOG_BYTES:
            self.size -= self.batches.popleft().ByteSize()
        self.broadcast.notify()

    def after(self, number: int) -> list[api_pb2.TaskLogsBatch]:
        """Return the kept entries after entry `number`."""
        newer = min(self.count - number, len(self.batches))
        return list(itertools.islice(self.batches, len(self.batches) - newer, None)) if newer > 0 else []


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """One version of a deployed app.

    Attributes:
        number: its version, from 1.
        deployed_at: its time, in seconds of the epoch.
        function_ids: functions by tag.
        class_ids: classes by tag.
        definitions: definitions by the id of the function.
        tag: the label that the user gave it.
        client_version: the SDK's version that sent it.
        commit: the user's commit, if the SDK found one.
        rollback_of: the version that was deployed again; 0: none.
    """

    number: int
    deployed_at: float
    function_ids: dict[str, str]
    class_ids: dict[str, str]
    definitions: dict[str, Definition]
    tag: str = ""
    client_version: str = ""
    commit: api_pb2.CommitInfo | None = None
    rollback_of: int = 0


@dataclass(slots=True, eq=False)
class App:
    """An app. Ends with its client (ephemeral, or not deployed yet) or by AppStop (detached, deployed)."""

    id: str
    detached: bool
    description: str = ""
    internal: bool = False
    """Belongs to the server, and not to a client."""
    initializing: bool = False
    """The client makes its objects, and will deploy it."""
    name: str = ""
    """Its name, once it is deployed."""
    tags: dict[str, str] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    """The versions of a deployed app, the newest last."""
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    heartbeat_at: float = field(default_factory=time.monotonic)
    created_at: float = field(default_factory=time.time)
    stopped_at: float | None = None
    done: bool = False
    """All containers have ended and the log is complete."""

    @property
    def stopped(self) -> bool:
        """Whether it was stopped: it starts nothing more."""
        return self.stopped_at is not None

    @property
    def deployed(self) -> bool:
        """Whether it was deployed, under its name."""
        return bool(self.name)

    @property
    def outlives_client(self) -> bool:
        """Whether it goes on when its client disconnects or dies."""
        return self.detached or self.deployed


@dataclass(frozen=True, slots=True)
class Scaling:
    """Numbers of containers of a function. `max_containers` None means no limit, as on Modal."""

    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window: int = 60
    """Seconds that an idle container waits for work. Modal's default."""


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """What a function is in one version of its app. `gpus`: the first choice and its fallbacks."""

    message: api_pb2.Function
    gpus: tuple[GpuSpec, ...] = ()
    scaling: Scaling = Scaling()


@dataclass(slots=True, eq=False)
class Function:
    """A pool of containers: a function, a class, or a variant of either (parameters, options)."""

    id: str
    app: App
    definition: api_pb2.Function = field(default_factory=api_pb2.Function)
    handle: api_pb2.FunctionHandleMetadata = field(default_factory=api_pb2.FunctionHandleMetadata)
    parameters: bytes = b""
    gpus: tuple[GpuSpec, ...] = ()
    scaling: Scaling = Scaling()
    defined: bool = True
    """Whether its definition has come and was accepted; before, the function has an id only."""
    base: Function | None = None
    """The function of which it is a variant."""
    options: api_pb2.FunctionOptions = field(default_factory=api_pb2.FunctionOptions)
    """What a variant changes in the definition of its base."""
    current: Definition | None = None
    """Its definition as it came; `scaling` may have changed since."""
    staged: dict[str, Definition] = field(default_factory=dict)
    """Definitions that a client has sent and not deployed yet, by their ids."""
    removed: bool = False
    """Whether the newest version of its deployed app lacks it: it takes no new calls."""
    pending: deque[Input] = field(default_factory=deque)
    containers: dict[str, Container] = field(default_factory=dict)
    broadcast: Broadcast = field(default_factory=Broadcast)

    @property
    def group_size(self) -> int:
        """Number of containers that work as one: the cluster size, else 1."""
        return self.definition._experimental_group_size or 1

    @property
    def clustered(self) -> bool:
        """Whether its containers form clusters, of one container or more."""
        return self.definition._experimental_group_size > 0

    @property
    def slots(self) -> int:
        """Inputs that one container runs at once (`@modal.concurrent`, `@modal.batched`)."""
        definition = self.definition
        return definition.max_concurrent_inputs or definition.batch_max_size or 1

    @property
    def startup_seconds(self) -> float:
        """Longest time until a container's first request for work."""
        return self.definition.startup_timeout_secs or self.definition.timeout_secs or 300

    @property
    def live(self) -> list[Container]:
        """Containers that take work, now or after their startup."""
        return [container for container in self.containers.values() if not container.leaving]


@dataclass(slots=True, eq=False)
class Call:
    """A function call: one input, or those of a map."""

    id: str
    function: Function
    invocation: int
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[int, api_pb2.FunctionGetOutputsItem] = field(default_factory=dict)
    """By input index; no entry while an input is retried."""
    chunks: list[api_pb2.DataChunk] = field(default_factory=list)
    completed: list[api_pb2.FunctionGetOutputsItem] = field(default_factory=list)
    """Outputs in order of completion, including retried attempts; maps read from an entry on."""
    broadcast: Broadcast = field(default_factory=Broadcast)
    readers: int = 0
    was_read: bool = False
    """Its one result was sent to a reader."""
    created_at: float = field(default_factory=time.time)

    @property
    def result_bytes(self) -> int:
        """Bytes of its results and generator items."""
        results = (*self.completed, *self.chunks)
        return sum(each.ByteSize() for each in results)

    @property
    def unfinished(self) -> int:
        """Number of inputs without a result."""
        return sum(not each.done for each in self.inputs.values())

    @property
    def synchronous(self) -> bool:
        """Whether the caller waits (`.remote`, `.map`); its SDK then retries."""
        return self.invocation not in (
            api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC,
            api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC_LEGACY,
        )


@dataclass(slots=True, eq=False)
class Input:
    """One set of arguments of a call."""

    id: str
    call: Call
    index: int
    payload: api_pb2.FunctionInput
    attempt: int = 0
    done: bool = False
    cancelled: bool = False
    members: list[Container] = field(default_factory=list)
    """Containers that run the input: one, or all of a cluster."""
    children: list[Call] = field(default_factory=list)
    """Calls that the input's code has made."""

    @property
    def waiting(self) -> bool:
        """Whether the input's code waits for a call of its own."""
        return any(call.unfinished and (call.synchronous or call.readers) for call in self.children)


@dataclass(slots=True, eq=False)
class Container:
    """A child process that serves one function."""

    id: str
    function: Function
    cluster: Cluster | None = None
    rank: int = 0
    devices: tuple[int, ...] = ()
    """Indexes of its GPUs on this machine."""
    running: dict[str, Input] = field(default_factory=dict)
    inbox: deque[Input] = field(default_factory=deque)
    """Inputs taken by rank 0 of its cluster, to be run by this member, too."""
    broadcast: Broadcast = field(default_factory=Broadcast)
    """Signals a change to the container's heartbeat: a cancellation."""
    leaving: bool = False
    """Takes no more work and will end."""
    outdated: bool = False
    """Its function was deployed again since: it ends what it runs."""
    ready: bool = False
    """Has asked for work: imports and `@enter` hooks are done."""
    idle_since: float | None = None
    startup_failure: api_pb2.GenericResult | None = None
    started_at: float = field(default_factory=time.time)
    started: float = field(default_factory=time.monotonic)
    """As `started_at`, on the monotonic clock."""
    ended_at: float | None = None

    def log(self, text: str, descriptor: api_pb2.FileDescriptor.ValueType) -> None:
        """Append output to the app's log, under the call that is running."""
        running = next(iter(self.running.values()), None)
        item = api_pb2.TaskLogs(
            data=text,
            file_descriptor=descriptor,
            timestamp=time.time(),
            function_call_id=running.call.id if running else "",
            input_id=running.id if running else "",
        )
        batch = api_pb2.TaskLogsBatch(task_id=self.id, function_id=self.function.id, items=[item])
        self.function.app.log.append(batch)


@dataclass(slots=True, eq=False)
class Cluster:
    """Containers that run each input together; `addresses` has the members that have connected."""

    id: str
    members: list[Container] = field(default_factory=list)
    addresses: dict[int, str] = field(default_factory=dict)
    broadcast: Broadcast = field(default_factory=Broadcast)
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class MountedFile:
    """A file of a mount: path in the container, content, mode."""

    remote_path: str
    sha256: str
    mode: int


@dataclass(slots=True, eq=False)
class Secret:
    """Environment variables, excluded from reprs and logs."""

    id: str
    name: str
    values: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that outlives containers; `name` is empty for an ephemeral volume."""

    id: str
    name: str
    path: Path
    version: int = api_pb2.VOLUME_FS_VERSION_V2
    """Version of Modal's file system. Decides how the SDK sends files; locally, both are directories."""
    created_at: float = field(default_factory=time.time)


@dataclass(slots=True, eq=False)
class State:
    """All objects by id."""

    apps: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    mounts: dict[str, tuple[MountedFile, ...]] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    result_bytes: int = 0
    """Bytes of all results and generator items that can still be read."""

    def forget_ended(self, kept: int = APPS_KEPT) -> None:
        """Drop the apps that ended first, with all that is theirs, but for the newest `kept`."""
        ended = [app for app in self.apps.values() if app.done]
        for app in ended[: max(0, len(ended) - kept)]:
            del self.apps[app.id]
            for call in [each for each in self.calls.values() if each.function.app is app]:
                self.forget_call(call)
            for cluster in [each for each in self.clusters.values() if each.members[0].function.app is app]:
                del self.clusters[cluster.id]
            for function in [each for each in self.functions.values() if each.app is app]:
                del self.functions[function.id]

    def forget_call(self, call: Call) -> None:
        """Drop a call that is finished: its results cannot be read any more."""
        del self.calls[call.id]
        self.result_bytes -= call.result_bytes
        for input_id in call.inputs:
            self.inputs.pop(input_id, None)

    @property
    def users_apps(self) -> list[App]:
        """The apps of clients."""
        return [app for app in self.apps.values() if not app.internal]

    def containers(self) -> list[Container]:
        """Return all containers that have not ended."""
        return [container for function in self.functions.values() for container in function.containers.values()]
