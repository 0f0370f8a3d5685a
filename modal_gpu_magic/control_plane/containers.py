"""The child processes: started from a spare, listened to, their output logged, ended and accounted for."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.listener import Door, Rpc, listen
from modal_gpu_magic.control_plane.refusals import Refusal
from modal_gpu_magic.control_plane.shim import end_family
from modal_gpu_magic.control_plane.standby import Spare, Spares

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.control_plane.furnish import Furnisher
    from modal_gpu_magic.control_plane.state import Container
    from modal_gpu_magic.control_plane.world import World

DRAIN = 0.5
"""Seconds to read what is left in the pipes of a process that is gone; a grandchild may hold them open."""

BEFORE_PYTHON = ("LD_", "DYLD_", "PYTHON", "MALLOC_", "GLIBC_")
"""Variables that are read before a spare could be told: a container with one of them starts afresh."""


class Containers:
    """Starts and ends processes for the scheduler."""

    def __init__(self, spares: Spares, furnisher: Furnisher) -> None:
        self._spares, self._furnisher = spares, furnisher
        self._children: dict[str, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.rpcs: dict[str, Rpc] = {}
        self.on_end: Callable[[Container, api_pb2.GenericResult], None] = lambda container, result: None
        self.arguments: Callable[[Container], bytes] = lambda container: b""
        self.meter: list[dict[str, object]] = []

    def start(self, container: Container) -> None:
        """Start a process for `container`. `on_end` is called when it is gone."""
        variables = self._furnisher.variables(container)
        spare = self._spares.take({name: value for name, value in variables.items() if name.startswith(BEFORE_PYTHON)})
        loop = asyncio.get_running_loop()
        loop.call_later(Spares.REFILL_AFTER, self._spares.refill)
        child = self._children[container.id] = Child(spare)
        task = loop.create_task(self._live(container, child, variables))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self, container: Container, child: Child, variables: dict[str, str]) -> None:
        """The life of one container, from its order to its account."""
        world = child.spare.world
        child.watch(lambda text, descriptor: self.log(container, text, descriptor))
        server = await listen(Door(self.rpcs, peer=container), world.socket)
        startup = asyncio.get_running_loop().call_later(
            container.function.startup_seconds, self._startup_timeout, container
        )
        try:
            await self._give_order(container, child, variables)
        except Refusal as refusal:
            container.startup_failure = failure(str(refusal))
            child.end()
        code = await child.gone()
        startup.cancel()
        server.close()
        await asyncio.to_thread(self._clear_up, container, world)
        self._children.pop(container.id, None)
        result = failure(describe_end(code, child.ran_out_of_memory(), container.ready), code)
        if container.running:
            self.log(container, result.exception + "\n", api_pb2.FILE_DESCRIPTOR_INFO)
        self._account(container, code)
        self.on_end(container, result)

    async def _give_order(self, container: Container, child: Child, variables: dict[str, str]) -> None:
        """Lay out its world and say what it becomes."""
        world = child.spare.world
        furnished = await asyncio.to_thread(self._furnisher.furnish, container, world, child.spare.process.pid)
        with open(world.arguments, "wb") as stream:
            stream.write(self.arguments(container))
        for note in furnished.notes:
            self.log(container, note + "\n", api_pb2.FILE_DESCRIPTOR_INFO)
        own = {
            "MODAL_SERVER_URL": f"unix://{world.socket}",
            "MODAL_TASK_ID": container.id,
            "MODAL_CONTAINER_ARGUMENTS_PATH": world.arguments,
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
            "MODAL_REGION": "local",
            "MODAL_ENVIRONMENT": "main",
            "MODAL_IMAGE_ID": container.function.definition.image_id,
        }
        env = {**world.environment(), **furnished.variables, **variables, **own}
        order = {"env": env, "overlays": furnished.overlays, "cwd": furnished.directory}
        with suppress(BrokenPipeError):  # killed meanwhile; its end is told below
            child.spare.become(order)

    def _startup_timeout(self, container: Container) -> None:
        """A container that never asks for work would keep its inputs waiting for ever."""
        child = self._children.get(container.id)
        if child is not None and not container.ready:
            seconds = container.function.startup_seconds
            container.startup_failure = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
                exception=f"Container startup hit its timeout of {seconds:g}s",
            )
            child.end()

    async def kill(self, container: Container, grace: float = 0.0) -> None:
        """End a container: with `grace`, it may finish what it does and run its `@exit` hooks."""
        container.leaving = True
        child = self._children.get(container.id)
        if child is None:
            return
        if grace and container.ready:
            if container.running:
                child.interrupt()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(child.gone(), grace)
        child.end()
        await child.gone()

    def end_all(self) -> None:
        """Kill every container now, without waiting: the server is leaving."""
        for child in self._children.values():
            child.end()
        self._spares.close()

    async def all_gone(self, timeout: float) -> None:
        """Wait until every container has ended, at most `timeout` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    def log(self, container: Container, text: str, descriptor: int) -> None:
        """Add output of a container to its app's log, under the call that it is working on."""
        running = next(iter(container.running.values()), None)
        item = api_pb2.TaskLogs(
            data=text,
            file_descriptor=descriptor,  # type: ignore[arg-type]  # the stubs' enum type is an int at run time
            timestamp=time.time(),
            function_call_id=running.call.id if running else "",
            input_id=running.id if running else "",
        )
        batch = api_pb2.TaskLogsBatch(task_id=container.id, function_id=container.function.id, items=[item])
        container.function.app.log.append(batch)

    def _clear_up(self, container: Container, world: World) -> None:
        self._furnisher.clear_up(container)
        world.remove()

    def _account(self, container: Container, code: int) -> None:
        """Note the container-seconds: what Modal would have charged for."""
        self.meter.append(
            {
                "container": container.id,
                "function": container.function.definition.function_name,
                "gpu": str(container.function.gpus[0]) if container.function.gpus else None,
                "started_at": container.started_at,
                "ended_at": time.time(),
                "exit_code": code,
            }
        )

    def write_meter(self, path: str) -> None:
        """Write the account of all containers that ended, as JSON."""
        with open(path, "w") as stream:
            json.dump(self.meter, stream, indent=1)


class Child:
    """One process with its pipes."""

    def __init__(self, spare: Spare) -> None:
        self.spare = spare
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        self._pipes: list[_Pipe] = []
        self._out_of_memory = oom_kills()

    def watch(self, log: Callable[[str, int], None]) -> None:
        """Begin to read its output and to wait for its end."""
        process = self.spare.process
        for stream, descriptor in (
            (process.stdout, api_pb2.FILE_DESCRIPTOR_STDOUT),
            (process.stderr, api_pb2.FILE_DESCRIPTOR_STDERR),
        ):
            pipe = _Pipe(log, descriptor)
            self._pipes.append(pipe)
            self._loop.create_task(self._loop.connect_read_pipe(lambda pipe=pipe: pipe, stream))
        threading.Thread(target=self._wait, daemon=True, name=f"wait-{process.pid}").start()

    def _wait(self) -> None:
        """In a thread: nothing else tells of a child's end on every system and Python that we run on."""
        code = self.spare.process.wait()
        end_family(self.spare.world.path, self.spare.process.pid)
        with suppress(RuntimeError):  # the loop is closed: the server has left
            self._loop.call_soon_threadsafe(self._note_end, code)

    def _note_end(self, code: int) -> None:
        os.close(self.spare.guard)
        self._code.set_result(code)

    async def gone(self) -> int:
        """Wait for its end, and for its output to be read. The exit code; negative for a signal."""
        code = await asyncio.shield(self._code)
        await asyncio.wait([pipe.closed for pipe in self._pipes], timeout=DRAIN)
        return code

    def interrupt(self) -> None:
        """Ask it to stop: KeyboardInterrupt in user code, then `@exit` hooks."""
        with suppress(ProcessLookupError):
            os.killpg(self.spare.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill it with all that it started."""
        if self.spare.process.returncode is None:
            end_family(self.spare.world.path, self.spare.process.pid)

    def ran_out_of_memory(self) -> bool:
        """The kernel killed a process for memory while this one lived."""
        return oom_kills() > self._out_of_memory


class _Pipe(asyncio.Protocol):
    """Decodes one output stream into the log; characters split between reads are joined."""

    def __init__(self, log: Callable[[str, int], None], descriptor: int) -> None:
        self._log, self._descriptor = log, descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if text := self._decoder.decode(data):
            self._log(text, self._descriptor)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def oom_kills() -> int:
    """Processes that Linux killed for memory since it booted; 0 elsewhere."""
    with suppress(OSError), open("/proc/vmstat") as stream:
        for line in stream:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def failure(text: str, code: int = 0) -> api_pb2.GenericResult:
    """A result that the client raises as RemoteError with this text."""
    return api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE, exitcode=code, exception=text)


def describe_end(code: int, out_of_memory: bool, was_ready: bool) -> str:
    """What happened to a container, in Modal's words: `Runner failed with exit code: -9 (SIGKILL)`."""
    text = f"Runner failed with exit code: {code}"
    if code < 0:
        with suppress(ValueError):
            text += f" ({signal.Signals(-code).name})"
    if code == -signal.SIGKILL and out_of_memory:
        text += ": this machine ran out of memory, and Linux killed the container"
    return text if was_ready else f"{text} during startup"
