"""First code of a container process. Runs as a plain file with the standard library only, before other imports.

Starts a guard process, imports slow modules, waits for the definition of its container, and then runs the SDK's
container entrypoint. Command line: `python shim.py ORDER_FD GUARD_FD`:

  ORDER_FD   receives one line of JSON, {"env": {...}, "overlays": [...], "cwd": "..."}. End of file: exit
  GUARD_FD   receives nothing; end of file means that the control plane has ended
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

MARKER = "MODAL_GPU_CONTAINER"
"""Environment variable of all processes of a container; its value is the container's directory."""

I6PN_HOST = "i6pn.modal.local"
I6PN_ADDRESS = "MODAL_GPU_I6PN"


def end_family(marker: str, group: int) -> None:
    """Kill all processes of a container: its process group and, on Linux, all others with its marker variable.

    `!cmd` in IPython and torchrun's workers are in other sessions and groups.
    """
    needle = f"{MARKER}={marker}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if process.name != str(os.getpid()) and needle in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # macOS raises EPERM for a group of zombies
        os.killpg(group, signal.SIGKILL)


def start_guard(guard: int, order: int) -> None:
    """Start a small process that kills all processes of this container when the control plane ends.

    A thread would stop while C code holds the GIL. PDEATHSIG reaches one process only, and is sent when the *thread*
    that started the process ends. Forked twice, so that user code does not see an unknown child.
    """
    group = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(guard)
        return
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    os.close(order)
    for stream in (1, 2):  # else the server never sees the end of the output
        os.dup2(0, stream)
    while os.read(guard, 1):
        pass
    end_family(os.environ[MARKER], group)
    os._exit(0)


def import_early() -> None:
    """Import what every container needs before it is needed, and exempt it from garbage collection."""
    import gc
    import importlib

    gc.disable()

    for name in (
        "modal._container_entrypoint",
        "IPython.core.interactiveshell",
        "cloudpickle",
        "xxhash",
        "modal_gpu_magic.sdk.nodes",
        "modal_gpu_magic.container.node",
    ):
        with suppress(ImportError):  # plain Modal scripts need only modal, whose absence runpy reports
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    sys.modules.pop("modal._container_entrypoint", None)  # runpy warns if the module is already imported


def resolve_i6pn() -> None:
    """Resolve the host name of Modal's cluster network to this container's loopback address."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (I6PN_HOST, I6PN_HOST.encode()):
            host = os.environ.get(I6PN_ADDRESS, "::1")
        return real(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def become(order: dict[str, Any]) -> None:
    """Apply the environment, import path and working directory of the container."""
    os.environ.clear()
    os.environ.update(order["env"])
    site = next((index for index, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))
    sys.path[site + 1 : site + 1] = order["overlays"]
    os.chdir(order["cwd"])
    for stream in (sys.stdout, sys.stderr):  # pipes: send each line when printed, in one write
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]


def main() -> None:
    """Wait as a standby process for a container's definition, then run the container."""
    order_fd, guard_fd = int(sys.argv[1]), int(sys.argv[2])
    sys.path.pop(0)  # the directory of this file
    start_guard(guard_fd, order_fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server's parent may have ignored SIGINT
    resolve_i6pn()
    root = sys.path.pop(0)  # may be being written: a half-written package would be imported
    import_early()
    sys.path.insert(0, root)
    with os.fdopen(order_fd, "rb") as stream:
        line = stream.readline()
    if not line:
        os._exit(0)
    become(json.loads(line))
    import runpy

    sys.argv = ["modal"]
    runpy.run_module("modal._container_entrypoint", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
