"""First code of a container process. Runs as a plain file, standard library only, before anything is imported.

It posts a warden, imports what is slow, waits for the order that says which container it becomes, and then runs the
SDK's own container entrypoint. Started as `python shim.py ORDER_FD GUARD_FD`:

  ORDER_FD   one line of JSON will come: {"env": {...}, "overlays": [...], "cwd": "..."}. End of file: not needed, leave
  GUARD_FD   nothing ever comes; end of file means the control plane is dead, by whatever death
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
"""Environment variable that every process of a container carries: the container's directory."""

I6PN_HOST = "i6pn.modal.local"
I6PN_ADDRESS = "MODAL_GPU_I6PN"


def end_family(marker: str, group: int) -> None:
    """Kill every process of a container: its group, and (on Linux) those that left it, found by their environment.

    `!cmd` in IPython and torchrun's workers have sessions of their own.
    """
    needle = f"{MARKER}={marker}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile, or another user's
            if process.name != str(os.getpid()) and needle in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(group, signal.SIGKILL)


def post_warden(guard: int, order: int) -> None:
    """Leave a small process behind that ends this whole family when the control plane is gone.

    A thread here would not do: C code that holds the GIL stops it. PDEATHSIG would not either: it reaches one process,
    and comes when the *thread* that started it ends. Forked twice, so that user code has no unknown child to wait for.
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
    for stream in (1, 2):  # else the server never sees the end of the container's output
        os.dup2(0, stream)
    while os.read(guard, 1):
        pass
    end_family(os.environ[MARKER], group)
    os._exit(0)


def import_early() -> None:
    """Import what every container needs, while nobody waits for it. None of it is garbage, now or later."""
    import gc
    import importlib

    gc.disable()

    for name in (
        "modal._container_entrypoint",
        "IPython.core.interactiveshell",
        "cloudpickle",
        "xxhash",
        "modal_gpu_magic.sdk.entry",
    ):
        with suppress(ImportError):  # plain Modal scripts need only modal; its absence is told by runpy
            importlib.import_module(name)
    gc.freeze()
    gc.enable()
    sys.modules.pop("modal._container_entrypoint", None)  # runpy warns of a module that is imported already


def resolve_i6pn() -> None:
    """Give the name of Modal's cluster network an address: each container's own, on this machine."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (I6PN_HOST, I6PN_HOST.encode()):
            host = os.environ.get(I6PN_ADDRESS, "::1")
        return real(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def become(order: dict[str, Any]) -> None:
    """Take the environment, the import path and the directory of the container this process becomes."""
    os.environ.clear()
    os.environ.update(order["env"])
    site = next((place for place, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))
    sys.path[site + 1 : site + 1] = order["overlays"]
    os.chdir(order["cwd"])
    for stream in (sys.stdout, sys.stderr):  # pipes: a line is seen when it is printed, and as one piece
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]


def main() -> None:
    """Be a spare container until the order comes, then be that container."""
    order_fd, guard_fd = int(sys.argv[1]), int(sys.argv[2])
    sys.path.pop(0)  # this file's own directory, whose modules are not for user code
    post_warden(guard_fd, order_fd)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the server's parent left behind
    resolve_i6pn()
    root = sys.path.pop(0)  # may be furnished right now: a package found there with half of its files is another one
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
