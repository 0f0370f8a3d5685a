"""Find the user's lasting control plane, or start it. Light: each command that uses the control plane runs this.

Two that look for it at once get the same one: a server is started under the lock, and holds the lock until it can be
found. So does one whose starter was killed meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.control_plane.lasting.directory import Busy, LastingDir, NotPrivate, lasting_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_SECONDS = 30.0
"""Seconds to wait for a server that another process starts or ends."""

PACKAGE_PARENT = Path(__file__).parents[3]


class NoServer(Exception):  # noqa: N818 - named after what it says
    """No lasting control plane can be had; the text is one sentence."""


def find_or_start(linger: float, cancel_grace: float) -> dict[str, Any]:
    """Return the record of the running server; start one if none runs.

    Raises:
        NoServer: the directory is not the user's, or the server does not start.
    """
    place = lasting_dir()
    with _locked(place) as lock:
        record = place.read() or _start(place, lock, linger, cancel_grace)
        place.note_client()
        return record


def find() -> dict[str, Any] | None:
    """Return the record of the running server; None if none runs. Starts nothing, and makes no directory.

    Raises:
        NoServer: the directory is not the user's, or another process holds its lock for too long.
    """
    place = lasting_dir()
    if not place.record.exists():
        return None
    with _locked(place):
        record = place.read()
        if record is not None:
            place.note_client()
        return record


@contextlib.contextmanager
def _locked(place: LastingDir) -> Iterator[int]:
    """Hold the lock of the directory inside the block; yield its descriptor.

    Raises:
        NoServer: the directory is not the user's, or another process holds its lock for too long.
    """
    try:
        with place.locked(START_SECONDS) as lock:
            yield lock
    except NotPrivate as error:
        raise NoServer(str(error)) from None
    except Busy:
        raise _busy(place) from None


def _busy(place: LastingDir) -> NoServer:
    return NoServer(f"Another process has held {place.path / 'lock'} for {START_SECONDS:g} s: end it, and try again.")


def _start(place: LastingDir, lock: int, linger: float, cancel_grace: float) -> dict[str, Any]:
    """Start a server, which gets the lock as well; return its record when it accepts connections."""
    place.record.unlink(missing_ok=True)  # of a server that was killed; the new one removes its other directories
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    command = [sys.executable, "-m", "modal_gpu_magic.control_plane"]
    options = ["--serve-lasting", str(lock), "--linger", repr(linger), "--cancel-grace", repr(cancel_grace)]
    try:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            cwd=PACKAGE_PARENT,
            env=_with_package(os.environ),
        )
    finally:
        os.close(log)
    assert process.stdout is not None  # noqa: S101 - by the arguments above
    with process.stdout as stdout:
        line = stdout.readline()
    record = place.read()
    if not line or record is None:
        process.kill()
        process.wait()
        said = place.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = said[-1] if said else f"exit code {process.returncode}"
        raise NoServer(f"The lasting control plane did not start: {reason}.")
    return record


def show(record: Mapping[str, Any] | None) -> None:
    """Print the record, for the kernel that asked; `null`: no server runs."""
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def _with_package(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which the server imports this same package."""
    paths = dict.fromkeys([str(PACKAGE_PARENT), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))])
    return {**environ, "PYTHONPATH": os.pathsep.join(paths)}
