"""A program: the local control plane as a cloud, on TCP, with Modal's limits, and with gates. `tests.cloud.cloud` runs it.

Arguments and results above the limits go over HTTP, as blobs. A client gets addresses of the network link for these, a
container the server's own: containers are in the cloud.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

AT_START: Final = Path(__file__).parent / "at_start"
CLOCK: Final = "TEST_CLOCK"
"""Environment variable of containers: the seconds by which their clocks are ahead of the kernel's."""

_IS_CLIENT: contextvars.ContextVar[bool] = contextvars.ContextVar("is_client", default=False)


def main(blobs: str, clock: str) -> int:
    """Serve until stdin ends.

    Args:
        blobs: the address at which clients reach the HTTP server.
        clock: seconds by which the clocks of containers are ahead.
    """
    from modal_gpu_magic.control_plane.containers import server_dirs
    from modal_gpu_magic.control_plane.containers.fork_server import ForkServer

    owner = os.getppid()
    _set_clocks(clock)
    dirs = server_dirs.create()
    first = ForkServer(dirs.root / "f0", {})
    if folder := os.environ.get("TEST_GATES"):
        from tests.cloud import gates

        gates.install(folder)
    return asyncio.run(_serve(dirs, first, blobs, owner))


def _set_clocks(ahead: str) -> None:
    """Let Python in containers run `at_start/sitecustomize.py`, which sets their clocks."""
    from modal_gpu_magic.control_plane.containers.root import ContainerRoot

    make, environment = ContainerRoot.make, ContainerRoot.environment

    def make_with_clock(root: ContainerRoot) -> None:
        make(root)
        program = str(AT_START / "sitecustomize.py")
        (root.site / "clock.pth").write_text(f"import runpy; runpy.run_path({program!r})\n")

    def with_clock(root: ContainerRoot) -> dict[str, str]:
        return {**environment(root), CLOCK: ahead}

    if float(ahead):
        replaced: Any = ContainerRoot
        replaced.make, replaced.environment = make_with_clock, with_clock


async def _serve(dirs: Any, first: Any, blobs: str, owner: int) -> int:
    from modal_gpu_magic.control_plane import running

    plane = _cloud_plane()(dirs, first, 30.0, detachable=True)
    plane.blobs = blobs
    try:
        await plane.start()
        return await running._serve_owner(plane, owner)
    finally:
        await plane.stop()


def _cloud_plane() -> Any:
    from grpclib.config import Configuration
    from grpclib.server import Server
    from yarl import URL

    from modal_gpu_magic.control_plane.files.loopback import Span
    from modal_gpu_magic.control_plane.rpc.listener import WINDOW, RpcEndpoint
    from modal_gpu_magic.control_plane.server import ControlPlane

    servicers = "modal_gpu_magic.control_plane.servicers"
    functions: Any = importlib.import_module(f"{servicers}.functions")
    definitions: Any = importlib.import_module(f"{servicers}.definitions")
    handle_of = definitions.handle_of

    def handle_with_limits(*arguments: Any) -> Any:
        """Leave the limits of payloads to the SDK, as Modal does."""
        handle = handle_of(*arguments)
        for each in (handle, *handle.method_handle_metadata.values()):
            each.ClearField("max_object_size_bytes")
            each.ClearField("max_async_object_size_bytes")
        return handle

    for module in (functions, definitions):
        module.handle_of = handle_with_limits

    class CloudPlane(ControlPlane):
        """Listens on TCP, too."""

        blobs = ""

        @property
        def hello(self) -> dict[str, object]:
            return {**super().hello, "port": self._port, "blob_port": URL(self._loopback._base).port}

        async def start(self) -> None:
            await super().start()
            await self._loopback._listen()
            loopback: Any = self._loopback
            own, address = loopback._base, loopback._address

            async def address_for(verb: str, span: Span) -> str:
                url: str = await address(verb, span)
                return url.replace(own, self.blobs) if _IS_CLIENT.get() else url

            loopback._address = address_for
            config = replace(Configuration(), http2_connection_window_size=WINDOW, http2_stream_window_size=WINDOW)
            self._tcp = Server([RpcEndpoint(_marked(self.rpcs, True), credentials=self.token)], config=config)
            self._containers.rpcs = _marked(self.rpcs, False)
            listening = socket.create_server(("127.0.0.1", 0))
            self._port = listening.getsockname()[1]
            await self._tcp.start(sock=listening)

        async def stop(self) -> None:
            self._tcp.close()
            await super().stop()

    return CloudPlane


def _marked(rpcs: Mapping[str, Any], is_client: bool) -> dict[str, Any]:
    """The RPCs, which know whether a client asks, or a container. Those that stream need no address.

    Containers are marked, too: their servers are made in the context of the client's request that starts them.
    """

    def marked(rpc: Any) -> Any:
        async def ask(request: Any, peer: Any) -> Any:
            _IS_CLIENT.set(is_client)  # of this request's task alone
            return await rpc(request, peer)

        return rpc if inspect.isasyncgenfunction(rpc) else ask

    return {name: marked(rpc) for name, rpc in rpcs.items()}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
