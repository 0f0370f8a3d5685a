"""Run a control plane until its owner ends, for the duration of a command, or as long as it is used."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.lasting.command import NO_COMMAND, client_environment
from modal_gpu_magic.control_plane.lasting.directory import LastingDir, NotPrivate, lasting_dir
from modal_gpu_magic.control_plane.server import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.control_plane.containers.fork_server import ForkServer
    from modal_gpu_magic.control_plane.containers.server_dirs import ServerDirs

OWNER_CHECK = 0.5
"""Seconds between checks of the parent process. Needed since a forked child of the owner may hold stdin open."""
UNUSED_CHECK = 5.0
"""Seconds between checks whether a lasting server is used, at most."""
REMOVAL_SECONDS = 3.0
"""Seconds that a lasting server which ends waits for the lock of its directory."""
REMOVAL_CHECK = 0.05
"""Seconds between its attempts."""


async def run(dirs: ServerDirs, first: ForkServer, cancel_grace: float, command: Sequence[str], owner: int) -> int:
    """Serve the parent process `owner`, or run `command`; return the exit code."""
    plane = ControlPlane(dirs, first, cancel_grace, detachable=not command)
    try:
        await plane.start()
        return await _run_command(plane, command) if command else await _serve_owner(plane, owner)
    finally:
        await plane.stop()


async def run_lasting(dirs: ServerDirs, first: ForkServer, cancel_grace: float, linger: float, lock: int) -> int:
    """Serve this user's kernels and commands until SIGTERM, or until nobody has used the server for `linger` seconds.

    `lock`: descriptor of the directory's lock, which is held until clients can find the server.
    """
    place = lasting_dir()
    plane = ControlPlane(dirs, first, cancel_grace, meter=dirs.root / "meter.json")
    held: int | None = None
    try:
        leave = _leave_on(signal.SIGTERM, signal.SIGINT)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)  # the terminal may close
        await plane.start()
        place.write({**plane.hello, "meter": str(plane.meter_path)})
        os.close(lock)
        _say_hello(plane)
        _leave_stdout()
        held = await _until_unused(plane, place, linger, leave)
    finally:
        place.forget(os.getpid())  # first: who comes now starts another server
        await plane.stop()
        await _remove(place, held)
    return 0


async def _until_unused(plane: ControlPlane, place: LastingDir, linger: float, leave: asyncio.Event) -> int | None:
    """Wait for a signal, or until the server is not used; then return the lock, under which no client finds it."""
    while not leave.is_set():
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(leave.wait(), min(linger / 10, UNUSED_CHECK))
        if not plane.socket.exists():  # a cleaner of temporary files was here: no client and no container can connect
            break
        if plane.idle_seconds() < linger:
            continue
        with suppress(NotPrivate):
            if (lock := place.try_lock()) is None:
                continue
            if plane.idle_seconds() >= linger and time.time() - place.last_client() >= linger:
                return lock
            os.close(lock)
    return None


async def _remove(place: LastingDir, lock: int | None) -> None:
    """Remove the directory of a server that has ended, unless another one has its place by now."""
    end = time.monotonic() + REMOVAL_SECONDS
    with suppress(NotPrivate):
        while lock is None and time.monotonic() < end and place.path.exists():
            if (lock := place.try_lock()) is None:
                await asyncio.sleep(REMOVAL_CHECK)
    if lock is not None:
        if not place.record.exists():
            place.remove()
        os.close(lock)


def _leave_on(*numbers: int) -> asyncio.Event:
    """Return an event that these signals set."""
    leave = asyncio.Event()
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    return leave


def _say_hello(plane: ControlPlane) -> None:
    """Print the connection details."""
    with suppress(BrokenPipeError):  # who started a lasting server was killed
        sys.stdout.write(json.dumps(plane.hello) + "\n")
        sys.stdout.flush()


def _leave_stdout() -> None:
    """Let who started this server read the end of its output."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


async def _serve_owner(plane: ControlPlane, owner: int) -> int:
    """Print the connection details and wait until the owner ends."""
    loop, leave = asyncio.get_running_loop(), _leave_on(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    threading.Thread(target=_read_to_end, args=(loop, leave), daemon=True, name="owner").start()
    _say_hello(plane)
    while not leave.is_set() and os.getppid() == owner:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(leave.wait(), OWNER_CHECK)
    return 0


def _read_to_end(loop: asyncio.AbstractEventLoop, leave: asyncio.Event) -> None:
    """Read stdin to its end, in a thread: the event loop cannot watch files and terminals."""
    while os.read(0, 4096):
        pass
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(leave.set)


async def _run_command(plane: ControlPlane, command: Sequence[str]) -> int:
    """Run a command with its Modal SDK connected to this server. Ctrl-C reaches the command through the terminal."""
    env = client_environment(plane.hello)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # before the command can show that it runs
    try:
        process = await asyncio.create_subprocess_exec(*command, env=env)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return NO_COMMAND
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, process.send_signal, number)
    code = await process.wait()
    return code if code >= 0 else 128 - code
