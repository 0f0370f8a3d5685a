"""The fork server: imports what every container imports, once, and forks the process of a container for each request.

Runs as a plain file with the standard library only, before other imports. Command line: `python fork_server_program.py
SOCKET`, the number of a descriptor. End of file on the socket ends the server. A request is one byte, with the
descriptors of `Pipes`. Each request makes two processes:

  guard        child of the server. Ends the container with all its descendants when its pipe is closed, which also
               happens when the control plane ends; reports the container's process and exit code
  container    child of the guard. Waits for its definition, then runs the SDK's container entrypoint

A thread could not guard: threads stop while C code holds the GIL.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

MARKER = "MODAL_GPU_CONTAINER"
"""Environment variable of all processes of a container; its value is the container's directory."""

I6PN_HOST = "i6pn.modal.local"
I6PN_ADDRESS = "MODAL_GPU_I6PN"

ON_LINUX = sys.platform.startswith("linux")
KILL_PERIOD = 0.02
"""Seconds between two rounds of a guard that ends a family."""
_SET_PDEATHSIG, _SET_NAME, _SET_CHILD_SUBREAPER = 1, 15, 36
"""Options of Linux's prctl."""


class Pipes(NamedTuple):
    """The descriptors of a request.

    Attributes:
        definition: receives one line of JSON, {"path": directory of the container, "env": {...}, "overlays": [...],
            "cwd": "..."}. End of file: the container is not needed.
        guard: receives nothing. End of file: end the container.
        status: gets one line with the container's process id, and one with its exit code, negative for a signal.
        stdout: standard output of the container.
        stderr: standard error of the container.
    """

    definition: int
    guard: int
    status: int
    stdout: int
    stderr: int

    def close(self, *names: str) -> None:
        """Close these descriptors; without names, all."""
        for name in names or self._fields:
            os.close(getattr(self, name))


def main() -> None:
    """Import, fork a container for each request, and run the container in the fork."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.path.pop(0)  # the directory of this file
    name_process("modal-forks")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards that end leave no zombies
    resolve_i6pn()
    if ON_LINUX:  # on macOS, system libraries fail in a process that is forked after they were used
        import_early()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 2)  # until here: the stderr of the container for which the server was started
    os.close(nowhere)
    mentions = mentions_of(os.environ[MARKER])
    pipes = serve(requests)
    run_container(pipes, mentions)


def serve(requests: socket.socket) -> Pipes:
    """Fork two processes for each request. Returns in the container alone."""
    paths = {*sys.path, *filter(None, (getattr(module, "__file__", None) for module in sys.modules.values()))}
    imported = modification_times(paths)
    while True:
        select.select([requests], [], [])
        if modification_times(paths) != imported:
            start_again(requests)
        request, descriptors, _, _ = socket.recv_fds(requests, 1, len(Pipes._fields))
        if not request:
            os._exit(0)
        pipes = Pipes(*descriptors)
        try:
            child = os.fork()
        except OSError as error:
            os.write(pipes.stderr, f"No process can be started: {error.strerror}.\n".encode())
        else:
            if child == 0:
                requests.close()
                start_guarded(pipes)
                return pipes
        pipes.close()


def import_early() -> None:
    """Import what every container needs, and exempt it from garbage collection, so that its memory stays shared."""
    import gc
    import importlib

    root = sys.path.pop(0)  # only containers have files there
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
    sys.path.insert(0, root)


def modification_times(paths: set[str]) -> dict[str, int]:
    """Return the times of the imported modules' files and of the folders of the import path, in nanoseconds.

    An installation changes them: a container that starts afterwards has the packages as they are then.
    """
    times: dict[str, int] = {}
    for path in paths:
        with suppress(OSError):
            times[path] = os.stat(path).st_mtime_ns  # noqa: PTH116 - 700 files a fork: 1 ms instead of 4
    return times


def start_again(requests: socket.socket) -> None:
    """Replace this server by a new one, which imports anew and has the same socket."""
    requests.set_inheritable(True)
    os.execv(sys.executable, [sys.executable, __file__, str(requests.fileno())])  # noqa: S606


Mention = tuple[Any, Any]
"""A dict or list, and the key of a text with a path of this process."""


def mentions_of(path: str) -> list[Mention]:
    """Return where imported modules hold paths below `path`: `sys.executable`, `sys.path`, `sysconfig`."""
    found: list[Mention] = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        for holder in (names, *(each for each in names.values() if type(each) in (dict, list))):
            items = list(holder.items() if isinstance(holder, dict) else enumerate(holder))
            found += [(holder, key) for key, value in items if _mentions(value, path)]
    return found


def _mentions(value: object, path: str) -> bool:
    if type(value) is str:
        return path in value
    return type(value) is bytes and path.encode() in value


def start_guarded(pipes: Pipes) -> None:
    """Fork the container, in which this function returns; this process becomes its guard."""
    name_process("modal-guard")
    adopt_orphans()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    guard = os.getpid()
    container = os.fork()
    if container:
        pipes.close("definition", "stdout", "stderr")
        stand_guard(container, pipes)
    os.setsid()
    end_with(guard)
    pipes.close("guard", "status")


def stand_guard(container: int, pipes: Pipes) -> NoReturn:
    """Wait for the end of the container, or end the container; then end what the container has started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    report(pipes.status, container)
    code = wait_for(container, pipes.guard)
    kill_family(container)
    if code is None:
        code = os.waitstatus_to_exitcode(os.waitpid(container, 0)[1])
    report(pipes.status, code)
    with suppress(ChildProcessError):  # none is left
        while True:  # a process that was being started when its parent was killed is found by the next round
            kill_family(container)
            os.waitpid(-1, os.WNOHANG)
            time.sleep(KILL_PERIOD)
    os._exit(0)


def report(status: int, number: int) -> None:
    """Send the control plane one line, unless the control plane has ended."""
    with suppress(BrokenPipeError):
        os.write(status, b"%d\n" % number)


def wait_for(container: int, guard: int) -> int | None:
    """Wait for the end of the container, and return its exit code; None if the pipe `guard` was closed before."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while (code := _collect(container)) is None:
        if guard in select.select([woken, guard], [], [])[0]:
            return None
        os.read(woken, 4096)
    return code


def _collect(container: int) -> int | None:
    """Collect the processes that have ended; return the exit code of the container if it is one of them."""
    ended = -1
    while ended:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == container:
            return os.waitstatus_to_exitcode(status)
    return None


def kill_family(container: int) -> None:
    """Kill all descendants of this process, the guard, and all processes of the container's group.

    `!cmd` in IPython and torchrun's workers are in other sessions and groups.
    """
    for process in descendants(os.getpid()):
        with suppress(OSError):  # ended meanwhile, or another user's
            os.kill(process, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):  # macOS raises EPERM for a group of zombies
        os.killpg(container, signal.SIGKILL)


def descendants(ancestor: int) -> list[int]:
    """Return all processes that descend from `ancestor`, on Linux; elsewhere none."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            parent = file.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(file.parent.name))
    found = list(children.get(ancestor, ()))
    for process in found:  # grows while it is read
        found += children.get(process, ())
    return found


def run_container(pipes: Pipes, mentions: list[Mention]) -> None:
    """Wait for the container's definition, and run the container."""
    name_process("modal-container")
    for source, target in ((pipes.stdout, 1), (pipes.stderr, 2)):
        os.dup2(source, target)
    pipes.close("stdout", "stderr")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server's parent may have ignored SIGINT
    with os.fdopen(pipes.definition, "rb") as stream:
        line = stream.readline()
    if not line:
        os._exit(0)
    become(json.loads(line), mentions)
    import runpy

    sys.argv = ["modal"]
    runpy.run_module("modal._container_entrypoint", run_name="__main__", alter_sys=True)


def become(definition: dict[str, Any], mentions: list[Mention]) -> None:
    """Apply the directory, environment, import path and working directory of the container."""
    former, path = os.environ[MARKER], definition["path"]
    for holder, key in mentions:
        in_text = isinstance(holder[key], str)
        holder[key] = holder[key].replace(*((former, path) if in_text else (former.encode(), path.encode())))
    os.environ.clear()
    os.environ.update(definition["env"])
    site = next((index for index, entry in enumerate(sys.path) if entry.endswith("-packages")), len(sys.path))
    sys.path[site + 1 : site + 1] = definition["overlays"]
    os.chdir(definition["cwd"])
    for stream in (sys.stdout, sys.stderr):  # pipes: send each line when printed, in one write
        stream.reconfigure(line_buffering=True, write_through=False)  # type: ignore[union-attr]


def resolve_i6pn() -> None:
    """Resolve the host name of Modal's cluster network to a container's loopback address."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in (I6PN_HOST, I6PN_HOST.encode()):
            host = os.environ.get(I6PN_ADDRESS, "::1")
        return real(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def name_process(name: str) -> None:
    """Set the name that `ps` and `top` show, at most 15 characters."""
    _prctl(_SET_NAME, name.encode())


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that `descendants` finds all of them."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_with(parent: int) -> None:
    """Let Linux kill this process when `parent` ends: nobody else would, since the guard is the one who does."""
    _prctl(_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(option: int, value: int | bytes) -> None:
    """Call Linux's prctl, which Python has no function for."""
    if ON_LINUX:
        with suppress(ImportError):  # a Python without libffi
            import ctypes

            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
