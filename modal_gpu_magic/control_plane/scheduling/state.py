"""What the control plane knows: apps, functions, calls, inputs, containers and the small objects. Pure: no I/O.

Objects refer to each other directly; `State` finds them by id. Protobuf messages are kept where the SDK's own
definition is the truth (a Function, an input's payload, a result).
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.broadcast import Bell
from modal_gpu_magic.line.spec import GpuSpec

LOG_BYTES = 32 << 20
"""Size of the log kept of an app. Who reads later sees the newest."""

APPS_KEPT = 8
"""Ended apps whose logs and results can still be read. Modal keeps them for days, and not in a machine's memory."""

_counters: Counter[str] = Counter()


def new_id(prefix: str) -> str:
    """A fresh object id such as `fc-0000129f3ab0c4`: in readable order. The SDK wants one dash."""
    _counters[prefix] += 1
    return f"{prefix}-{_counters[prefix]:06d}{os.urandom(4).hex()}"


@dataclass(slots=True, eq=False)
class Log:
    """Log entries of one app, numbered from 1; the oldest are dropped."""

    batches: deque[api_pb2.TaskLogsBatch] = field(default_factory=deque)
    count: int = 0
    size: int = 0
    bell: Bell = field(default_factory=Bell)

    def append(self, batch: api_pb2.TaskLogsBatch) -> None:
        """Number `batch` and keep it."""
        self.count += 1
        batch.entry_id = str(self.count)
        self.batches.append(batch)
        self.size += batch.ByteSize()
        while self.size > LOG_BYTES:
            self.size -= self.batches.popleft().ByteSize()
        self.bell.ring()

    def after(self, number: int) -> list[api_pb2.TaskLogsBatch]:
        """Entries behind entry `number`, as far as they are still kept."""
        newer = min(self.count - number, len(self.batches))
        return list(itertools.islice(self.batches, len(self.batches) - newer, None)) if newer > 0 else []


@dataclass(slots=True, eq=False)
class App:
    """A running app. It ends with its client (ephemeral), or by AppStop (detached)."""

    id: str
    detached: bool
    description: str = ""
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    heartbeat_at: float = field(default_factory=time.monotonic)
    stopped: bool = False
    done: bool = False
    """All containers are gone and the log is complete."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many containers a function has. `max_containers` None is Modal's "no limit"."""

    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window: int = 60
    """Seconds an idle container waits for work. Modal's default."""


@dataclass(slots=True, eq=False)
class Function:
    """One pool of containers: a function, a class, or a variant of either (parameters, options)."""

    id: str
    app: App
    definition: api_pb2.Function = field(default_factory=api_pb2.Function)
    handle: api_pb2.FunctionHandleMetadata = field(default_factory=api_pb2.FunctionHandleMetadata)
    parameters: bytes = b""
    gpus: tuple[GpuSpec, ...] = ()
    scaling: Scaling = Scaling()
    pending: deque[Input] = field(default_factory=deque)
    containers: dict[str, Container] = field(default_factory=dict)
    bell: Bell = field(default_factory=Bell)

    @property
    def group_size(self) -> int:
        """Containers that work as one: the cluster size, else 1."""
        return self.definition._experimental_group_size or 1

    @property
    def clustered(self) -> bool:
        """Its containers say hello to each other first; one alone is a cluster, too."""
        return self.definition._experimental_group_size > 0

    @property
    def slots(self) -> int:
        """Inputs one container takes at once (`@modal.concurrent`, `@modal.batched`)."""
        definition = self.definition
        return definition.max_concurrent_inputs or definition.batch_max_size or 1

    @property
    def startup_seconds(self) -> float:
        """Time a container has to reach its first request for work."""
        return self.definition.startup_timeout_secs or self.definition.timeout_secs or 300

    @property
    def live(self) -> list[Container]:
        """Containers that can still take work, now or when they are up."""
        return [container for container in self.containers.values() if not container.leaving]


@dataclass(slots=True, eq=False)
class Call:
    """One function call: one input, or those of a map."""

    id: str
    function: Function
    invocation: int
    inputs: dict[str, Input] = field(default_factory=dict)
    outputs: dict[int, api_pb2.FunctionGetOutputsItem] = field(default_factory=dict)
    """By index; none while an input is tried again."""
    chunks: list[api_pb2.DataChunk] = field(default_factory=list)
    completed: list[api_pb2.FunctionGetOutputsItem] = field(default_factory=list)
    """Outputs in order of completion, those of attempts that were tried again included: maps read from an entry on."""
    bell: Bell = field(default_factory=Bell)
    readers: int = 0
    created_at: float = field(default_factory=time.time)

    @property
    def result_bytes(self) -> int:
        """Size of its results and generator items."""
        kept = (*self.completed, *self.chunks)
        return sum(each.ByteSize() for each in kept)

    @property
    def unfinished(self) -> int:
        """Inputs without a result."""
        return sum(not each.done for each in self.inputs.values())

    @property
    def synchronous(self) -> bool:
        """The caller waits (`.remote`, `.map`), and its SDK does the retries."""
        return self.invocation not in (
            api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC,
            api_pb2.FUNCTION_CALL_INVOCATION_TYPE_ASYNC_LEGACY,
        )


@dataclass(slots=True, eq=False)
class Input:
    """One set of arguments on its way through a container."""

    id: str
    call: Call
    index: int
    payload: api_pb2.FunctionInput
    attempt: int = 0
    done: bool = False
    cancelled: bool = False
    members: list[Container] = field(default_factory=list)
    """Containers that have it: one, or all of a cluster."""
    children: list[Call] = field(default_factory=list)
    """Calls that its code has made."""

    @property
    def waiting(self) -> bool:
        """Its code is waiting for a call of its own."""
        return any(call.unfinished and (call.synchronous or call.readers) for call in self.children)


@dataclass(slots=True, eq=False)
class Container:
    """One child process that serves one function."""

    id: str
    function: Function
    cluster: Cluster | None = None
    rank: int = 0
    devices: tuple[int, ...] = ()
    """Real GPUs allotted to it, by index on this machine."""
    running: dict[str, Input] = field(default_factory=dict)
    inbox: deque[Input] = field(default_factory=deque)
    """Inputs that rank 0 of its cluster took, to be repeated here."""
    bell: Bell = field(default_factory=Bell)
    """Rung when there is something for its heartbeat: a cancellation."""
    leaving: bool = False
    """It takes no more work and is on its way out."""
    ready: bool = False
    """It has asked for work: imports and `@enter` are through."""
    idle_since: float | None = None
    startup_failure: api_pb2.GenericResult | None = None
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None

    def log(self, text: str, descriptor: api_pb2.FileDescriptor.ValueType) -> None:
        """Add output to its app's log, under the call that it is working on."""
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
    """Containers that run each input together; `addresses` fills up as they say hello."""

    id: str
    members: list[Container] = field(default_factory=list)
    addresses: dict[int, str] = field(default_factory=dict)
    bell: Bell = field(default_factory=Bell)
    started_at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class MountedFile:
    """One file of a mount: where it goes and which content it has."""

    remote_path: str
    sha256: str
    mode: int


@dataclass(slots=True, eq=False)
class Secret:
    """Environment variables, never shown in a repr or a log."""

    id: str
    name: str
    values: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that outlives containers; `name` is empty for an ephemeral one."""

    id: str
    name: str
    path: Path
    version: int = api_pb2.VOLUME_FS_VERSION_V2
    """Of Modal's file system. It decides how the SDK sends files; here both are a directory."""
    created_at: float = field(default_factory=time.time)


@dataclass(slots=True, eq=False)
class State:
    """Every object by id."""

    apps: dict[str, App] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    mounts: dict[str, tuple[MountedFile, ...]] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    result_bytes: int = 0
    """Size of all results and generator items that can still be read."""

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

    def containers(self) -> list[Container]:
        """All containers that have not ended."""
        return [container for function in self.functions.values() for container in function.containers.values()]
