"""A slow and failing cloud: RPCs of a local control plane wait at a gate or fail, as long as a file of their name says so.

`install` runs in the control plane and wraps the RPCs in its listener; `Gates` is the test's end. A gate holds an RPC of
anybody; a fault strikes those of the kernel alone, also those that wait for their answer when the fault begins.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

LISTENER = "modal_gpu_magic.control_plane.rpc.listener"
AT_START = Path(__file__).with_name("at_start")
"""On the import path of a control plane whose RPCs are to wait at gates."""


@dataclass(frozen=True)
class Gates:
    """The gates of one control plane, as files of a folder."""

    folder: Path

    def close(self, name: str) -> None:
        """Let RPCs of this name wait from now on. What was noted of the name is forgotten."""
        for path in (self._reached(name), self._passed(name)):
            path.unlink(missing_ok=True)
        (self.folder / name).touch()

    def open(self, name: str) -> None:
        """Let them go on."""
        (self.folder / name).unlink(missing_ok=True)

    def reached(self, name: str) -> bool:
        """Whether one waits, or has waited, since the gate was closed."""
        return self._reached(name).exists()

    def passed(self, name: str) -> bool:
        """Whether one has been answered since the gate of the name was closed, or `forget` was called."""
        return self._passed(name).exists()

    def forget(self, name: str) -> None:
        """Note anew whether an RPC of this name is answered."""
        self._passed(name).unlink(missing_ok=True)

    def fail(self, *names: str, status: str = "UNAVAILABLE", times: int = 0, retry_after: float = 0.0) -> None:
        """Let RPCs of these names fail with a status from now on; `*`: all.

        Args:
            names: names of RPCs.
            status: the status of gRPC.
            times: how many of them fail; 0: all until `mend`.
            retry_after: seconds after which the server wants to be asked again, as Modal says when it throttles.
        """
        for name in names:
            (self.folder / f"{name}.failed").unlink(missing_ok=True)
            draft = self.folder / f"{name}.draft"
            draft.write_text(f"{status} {times} {retry_after}")
            draft.replace(self.folder / f"{name}.fault")

    def mend(self, *names: str) -> None:
        """Let them be answered again."""
        for name in names:
            (self.folder / f"{name}.fault").unlink(missing_ok=True)

    def failed(self, name: str) -> int:
        """How many RPCs have met the fault of this name since it began."""
        path = self.folder / f"{name}.failed"
        return path.stat().st_size if path.exists() else 0

    def _reached(self, name: str) -> Path:
        return self.folder / f"{name}.reached"

    def _passed(self, name: str) -> Path:
        return self.folder / f"{name}.passed"


def install(folder: str) -> None:
    """Wrap the RPCs of every listener of this process, once its module is imported."""
    sys.meta_path.insert(0, _Finder(Gates(Path(folder))))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, gates: Gates) -> None:
        self._gates = gates

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != LISTENER:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        if found is None or found.loader is None:
            return None
        execute: Any = found.loader.exec_module

        def execute_and_wrap(module: ModuleType) -> None:
            execute(module)
            _wrap(module, self._gates)

        found.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]  # of this loader alone
        return found


def _wrap(listener: ModuleType, gates: Gates) -> None:
    begin = listener.RpcEndpoint.__init__

    def begin_gated(door: Any, rpcs: Mapping[str, Any], **options: Any) -> None:
        begin(door, {name: _gated(name, rpc, gates) for name, rpc in rpcs.items()}, **options)

    listener.RpcEndpoint.__init__ = begin_gated
    handler = listener.RpcEndpoint._handler

    def handler_with_faults(door: Any, path: str, route: Any) -> Any:
        handle = handler(door, path, route)
        return handle if door._peer is not None else _failing(path.rpartition("/")[2], handle, gates)

    listener.RpcEndpoint._handler = handler_with_faults


def _failing(name: str, handle: Any, gates: Gates) -> Any:
    """A handler of an RPC that fails while a fault of its name exists."""
    from grpclib.const import Status
    from grpclib.exceptions import GRPCError
    from modal_proto import api_pb2

    def strike() -> None:
        for each in (name, "*"):
            fault = gates.folder / f"{each}.fault"
            if fault.exists():
                status, times, after = fault.read_text().split()
                if int(times) and gates.failed(each) >= int(times):
                    continue
                with (gates.folder / f"{each}.failed").open("a") as count:
                    count.write("x")
                details = [api_pb2.RPCRetryPolicy(retry_after_secs=float(after))] if float(after) else None
                raise GRPCError(Status[status], f"a fault of the test in {name}", details)

    async def handle_or_fail(stream: Any) -> None:
        strike()
        answer = asyncio.ensure_future(handle(stream))
        try:
            while not (await asyncio.wait({answer}, timeout=0.02))[0]:
                strike()
            answer.result()
        finally:
            answer.cancel()

    return handle_or_fail


def _gated(name: str, rpc: Any, gates: Gates) -> Any:
    if inspect.isasyncgenfunction(rpc):
        return rpc
    gate, reached, passed = gates.folder / name, gates.folder / f"{name}.reached", gates.folder / f"{name}.passed"

    async def wait(request: Any, peer: Any) -> Any:
        while gate.exists():
            reached.touch()
            await asyncio.sleep(0.01)
        answer = await rpc(request, peer)
        passed.touch()
        return answer

    return wait
