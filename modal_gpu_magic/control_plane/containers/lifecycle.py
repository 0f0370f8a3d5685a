"""Child processes of containers: start, logging and end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.containers.child import Child
from modal_gpu_magic.control_plane.refusals import Refusal
from modal_gpu_magic.control_plane.rpc.credentials import ContainerToken
from modal_gpu_magic.control_plane.rpc.listener import RpcEndpoint, listen

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.control_plane.containers.fork_server import ForkServers
    from modal_gpu_magic.control_plane.containers.setup import ContainerSetup
    from modal_gpu_magic.control_plane.containers.usage_meter import UsageMeter
    from modal_gpu_magic.control_plane.rpc.listener import Rpc
    from modal_gpu_magic.control_plane.scheduling.state import Container

BEFORE_PYTHON = ("LD_", "DYLD_", "PYTHON", "MALLOC_", "GLIBC_")
"""Prefixes of variables that take effect before Python code runs, so a fork server with other ones cannot be used."""

STARTED = "MODAL_GPU_STARTED"
"""Environment variable with the container's start on the monotonic clock: its process may be older, or younger."""
CANCELLATION = 2.0
"""Seconds that cancelled inputs have to end before their container gets SIGINT. The SDK polls once a second."""


class Containers:
    """Starts and ends processes for the scheduler.

    `connect` sets `rpcs`, `arguments` and `on_end`, because the parts of a server refer to each other.
    """

    rpcs: dict[str, Rpc]
    arguments: Callable[[Container], bytes]
    on_end: Callable[[Container, api_pb2.GenericResult], None]

    def __init__(self, fork_servers: ForkServers, container_setup: ContainerSetup, meter: UsageMeter) -> None:
        self._fork_servers, self._container_setup, self._meter = fork_servers, container_setup, meter
        self._children: dict[str, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(
        self,
        rpcs: dict[str, Rpc],
        arguments: Callable[[Container], bytes],
        on_end: Callable[[Container, api_pb2.GenericResult], None],
    ) -> None:
        """Set the RPCs for containers, the arguments of their entrypoint, and the callback for their end."""
        self.rpcs, self.arguments, self.on_end = rpcs, arguments, on_end

    def start(self, container: Container) -> None:
        """Start a process for `container`. `on_end` is called when the process has ended."""
        self._meter.begin(container)
        variables = self._container_setup.variables(container)
        try:
            pipes = self._fork_servers.fork(
                {name: value for name, value in variables.items() if name.startswith(BEFORE_PYTHON)}
            )
        except OSError as error:
            asyncio.get_running_loop().call_soon(self._fail, container, error)
            return
        child = self._children[container.id] = Child(pipes)
        task = asyncio.get_running_loop().create_task(self._run(container, child, variables))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, container: Container, error: OSError) -> None:
        """End a container that has no process."""
        container.startup_failure = failure(f"The container cannot be started: {error}.")
        self._meter.end(container, 1, time.monotonic())
        self.on_end(container, container.startup_failure)

    async def _run(self, container: Container, child: Child, variables: dict[str, str]) -> None:
        """Run one container from its setup to its end."""
        container_root = child.pipes.container_root
        await child.watch(container.log)
        token = ContainerToken()
        server = await listen(RpcEndpoint(self.rpcs, credentials=token, peer=container), container_root.socket)
        limit = container.function.startup_seconds
        startup = asyncio.get_running_loop().call_later(limit, self._startup_timeout, container, child)
        try:
            await self._set_up(container, child, {**variables, **token.variables})
        except Refusal as refusal:
            container.startup_failure = failure(str(refusal))
            child.end()
        except Exception as error:  # noqa: BLE001 - whatever fails, the calls of the container end
            container.startup_failure = failure(f"The container cannot be set up: {error}.")
            child.end()
        code = await child.gone()
        self._meter.end(container, code, child.ended)
        startup.cancel()
        server.close()
        await asyncio.to_thread(self._container_setup.clear_up, container)
        self._children.pop(container.id, None)
        result = failure(child.describe_end(code, was_ready=container.ready), code)
        if container.running:
            container.log(result.exception + "\n", api_pb2.FILE_DESCRIPTOR_INFO)
        self.on_end(container, result)
        await asyncio.to_thread(container_root.remove)  # last, since it takes long: the caller waits for the result

    async def _set_up(self, container: Container, child: Child, variables: dict[str, str]) -> None:
        """Write the container's files and send its process the definition."""
        container_root = child.pipes.container_root
        leader = await asyncio.shield(child.started)
        setup_result = await asyncio.to_thread(self._container_setup.set_up, container, container_root, leader)
        await asyncio.to_thread(container_root.arguments.write_bytes, self.arguments(container))
        for note in setup_result.notes:
            container.log(note + "\n", api_pb2.FILE_DESCRIPTOR_INFO)
        own = {
            "MODAL_SERVER_URL": f"unix://{container_root.socket}",
            "MODAL_DISABLE_API_PROXY": "1",  # else the SDK also uses a proxy for loopback
            "MODAL_TASK_ID": container.id,
            STARTED: repr(container.started),
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(container_root.arguments),
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
            "MODAL_REGION": "local",
            "MODAL_ENVIRONMENT": "main",
            "MODAL_IMAGE_ID": container.function.definition.image_id,
        }
        env = {**container_root.environment(), **setup_result.variables, **variables, **own}
        with suppress(BrokenPipeError):  # ended meanwhile; `_run` reports the end
            child.pipes.define({"env": env, "overlays": setup_result.overlays, "cwd": str(container_root.root)})

    def _startup_timeout(self, container: Container, child: Child) -> None:
        """Fail a container that has not asked for work in time; its inputs would wait without end."""
        if not container.ready:
            limit = container.function.startup_seconds
            container.startup_failure = api_pb2.GenericResult(
                status=api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT,
                exception=f"Container startup hit its timeout of {limit:g}s",
            )
            child.give_up()

    async def kill(self, container: Container, grace: float = 0.0) -> None:
        """End a container. With `grace` seconds, it may finish its inputs and run its `@exit` hooks."""
        container.leaving = True
        child = self._children.get(container.id)
        if child is None:
            return
        if grace and container.ready:
            # Cancelled inputs end first: the SDK skips `@exit` if SIGINT comes between taking and running an input.
            if container.running and not await _ended(child, within=CANCELLATION):
                child.interrupt()
            await _ended(child, within=grace)
        child.end()
        await child.gone()

    def end_all(self) -> None:
        """Kill all containers without waiting, because the server stops."""
        for child in self._children.values():
            child.end()
        self._fork_servers.close()

    async def all_gone(self, timeout: float) -> None:
        """Wait until all containers have ended, at most `timeout` seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)


async def _ended(child: Child, within: float) -> bool:
    """Return whether the child ended within `within` seconds."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(child.gone(), within)
        return True
    return False


def failure(text: str, code: int = 0) -> api_pb2.GenericResult:
    """Return a result that the client raises as RemoteError with this text."""
    return api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_FAILURE, exitcode=code, exception=text)
