"""A control plane in this process whose requests are kept: what the SDK sends is compared, nothing is built or run."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import modal
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.containers import server_dirs
from modal_gpu_magic.control_plane.server import ControlPlane
from modal_gpu_magic.sdk.client import Backend

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

STREAMED = frozenset({"VolumeListFiles2"})
RECORDED = ("FunctionBindParams", "FunctionCreate", "ImageGetOrCreate", "VolumeGetOrCreate")


class Recorder:
    """The real control plane, with its requests kept by the name of their RPC. Use it in a `with`.

    Attributes:
        requests: the requests of the RPCs in `recorded`, by the name of the RPC.
        order: the names of these RPCs, in the order of the requests.
    """

    def __init__(self, recorded: tuple[str, ...] = RECORDED) -> None:
        self.recorded = recorded
        self.order: list[str] = []
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._plane = self._wait(self._start())
        token = (self._plane.token.id, self._plane.token.secret)
        client: Any = modal.Client(f"unix://{self._plane.socket}", api_pb2.CLIENT_TYPE_CLIENT, token)
        self.client = client.__enter__()
        self.backend = Backend("local", self.client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(None, None, None)
        self._wait(self._plane.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    async def _start(self) -> ControlPlane:
        plane = ControlPlane(server_dirs.create(), None, 30.0)
        for name in self.recorded:
            plane.rpcs[name] = (self._keeping_stream if name in STREAMED else self._keeping)(name, plane.rpcs[name])
        await plane.start()
        return plane

    def _keeping(self, name: str, rpc: Any) -> Any:
        async def keep(request: Any, peer: Any) -> Any:
            self._keep(name, request)
            return await rpc(_UNDONE.get(name, lambda same: same)(request), peer)

        return keep

    def _keeping_stream(self, name: str, rpc: Any) -> Any:
        async def keep(request: Any, peer: Any) -> Any:
            self._keep(name, request)
            async for each in rpc(request, peer):
                yield each

        return keep

    def _keep(self, name: str, request: Any) -> None:
        self.requests[name].append(request)
        self.order.append(name)

    def clear(self) -> None:
        """Forget what was recorded."""
        self.requests.clear()
        self.order.clear()

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


def _unbuilt(request: Any) -> Any:
    """The same layer less its commands: it is there at once, and no package is fetched."""
    bare = type(request)()
    bare.CopyFrom(request)
    kept = [line for line in request.image.dockerfile_commands if not line.startswith("RUN ")]
    del bare.image.dockerfile_commands[:]
    bare.image.dockerfile_commands.extend(kept)
    return bare


def _unstarted(request: Any) -> Any:
    """The same function without containers that are always there."""
    bare = type(request)()
    bare.CopyFrom(request)
    for function in (
        bare.function,
        bare.function_data,
        *(each.function for each in bare.function_data.ranked_functions),
    ):
        function.autoscaler_settings.min_containers = 0
        function.warm_pool_size = 0
    if not request.HasField("function"):
        bare.ClearField("function")
    if not request.HasField("function_data"):
        bare.ClearField("function_data")
    return bare


_UNDONE = {"ImageGetOrCreate": _unbuilt, "FunctionCreate": _unstarted}
"""What the control plane gets in a request's place, since nothing is to run."""
