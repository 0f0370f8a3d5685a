"""Run a control plane until its owner ends, or for the duration of a command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.server import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.control_plane.containers.server_dirs import ServerDirs
    from modal_gpu_magic.control_plane.containers.standby import WarmProcess

OWNER_CHECK = 0.5
"""Seconds between checks of the parent process. Needed since a forked child of the owner may hold stdin open."""


async def run(dirs: ServerDirs, first: WarmProcess, cancel_grace: float, command: Sequence[str], owner: int) -> int:
    """Serve the parent process `owner`, or run `command`; return the exit code."""
    plane = ControlPlane(dirs, first, cancel_grace, detachable=not command)
    try:
        await plane.start()
        return await _run_command(plane, command) if command else await _serve_owner(plane, owner)
    finally:
        await plane.stop()


async def _serve_owner(plane: ControlPlane, owner: int) -> int:
    """Print the connection details and wait until the owner ends."""
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, leave.set)
    threading.Thread(target=_read_to_end, args=(loop, leave), daemon=True, name="owner").start()
    sys.stdout.write(json.dumps(plane.hello) + "\n")
    sys.stdout.flush()
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
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    env["MODAL_SERVER_URL"] = f"unix://{plane.socket}"
    env["MODAL_TOKEN_ID"], env["MODAL_TOKEN_SECRET"] = plane.token.id, plane.token.secret
    env["MODAL_DISABLE_API_PROXY"] = "1"  # else the SDK also uses a proxy for loopback
    env["MODAL_CONFIG_PATH"] = str(plane.directories.root / "no-profile.toml")
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    try:
        process = await asyncio.create_subprocess_exec(*command, env=env)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, process.send_signal, number)
    code = await process.wait()
    return code if code >= 0 else 128 - code
