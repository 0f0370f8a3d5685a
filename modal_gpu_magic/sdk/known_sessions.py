"""Which detached sessions were made or attached to from this machine: small files in the user's state directory.

Loading the extension reads them, and asks no server. A file may be out of date: the registry knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from modal_gpu_magic.sdk.choice import Kind
from modal_gpu_magic.sdk.state_directory import made, state_directory

if TYPE_CHECKING:
    from pathlib import Path

LASTS_SECONDS = timedelta(days=8).total_seconds()
"""Seconds after which a file counts no more: Modal has given up the session's entry and results by then."""

FRESH_SECONDS = 60.0
"""Seconds for which a file is not written again: a short cell takes ten times as long as the file."""
_written: dict[tuple[str, Kind, str], float] = {}
"""When this process wrote each session's file, by session, backend and notebook; seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Known:
    """A detached session as this machine remembers it.

    Attributes:
        session: its name.
        kind: its backend.
        notebook: path of the notebook that used it last; empty: not known.
        used_at: when that was, seconds since the epoch.
    """

    session: str
    kind: Kind
    notebook: str = ""
    used_at: float = 0.0


def known() -> tuple[Known, ...]:
    """Return the sessions that this machine remembers, the latest first."""
    found: list[Known] = []
    with contextlib.suppress(OSError):
        for path in _directory().iterdir():
            with contextlib.suppress(OSError, ValueError, TypeError):
                each = Known(**json.loads(path.read_text(encoding="utf-8")))
                if each.used_at > time.time() - LASTS_SECONDS:
                    found.append(each)
    return tuple(sorted(found, key=lambda each: -each.used_at))


def remember(session: str, kind: Kind, notebook: str) -> None:
    """Note that a kernel of this machine uses a session. A disk that takes nothing is no reason to fail."""
    path = _path(session, kind)
    is_fresh = 0 <= time.time() - _written.get((session, kind, notebook), 0.0) < FRESH_SECONDS
    if is_fresh and path.exists():  # else another kernel has ended the session, which this one has made anew
        return
    with contextlib.suppress(OSError):
        made(_directory())
        part = path.with_name(f".{os.getpid()}-{path.name}")
        part.write_text(json.dumps(asdict(Known(session, kind, notebook, time.time()))), encoding="utf-8")
        part.replace(path)
        _written[session, kind, notebook] = time.time()


def forget(session: str, kind: Kind) -> None:
    """Note that a session has ended."""
    for key in [key for key in _written if key[:2] == (session, kind)]:
        del _written[key]
    with contextlib.suppress(OSError):
        _path(session, kind).unlink()


def _directory() -> Path:
    return state_directory() / "detached"


def _path(session: str, kind: Kind) -> Path:
    return _directory() / f"{kind}-{quote(session, safe='')}.json"
