"""Where a server lives on disk: its directory of sockets and containers, and its store of shared buffers.

Both are this user's alone (0700). A marker says whose they are, so that the next server removes what a dead one left.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass

PREFIX = "mgm-"
_MARKER = "owner.json"
_LINKS = "links.json"
_LONGEST = 40
"""Longest base directory: socket paths end at 104 bytes on macOS, 107 on Linux, ours add up to 30."""


@dataclass(frozen=True, slots=True)
class Premises:
    """The two directories of one server."""

    root: str
    store: str

    def remove(self) -> None:
        """Remove everything, links made outside included."""
        remove_links(self.root)
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)


def move_in() -> Premises:
    """Make the directories and mark them as ours."""
    name = PREFIX + os.urandom(4).hex()
    root = os.path.join(_base(), name)
    os.mkdir(root, 0o700)
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else root
    store = os.path.join(shared, name if shared != root else "store")
    owner = {"pid": os.getpid(), "started": started(os.getpid()), "store": store}
    with open(os.path.join(root, _MARKER), "w") as stream:
        json.dump(owner, stream)
    os.mkdir(store, 0o700)
    return Premises(root, store)


def _base() -> str:
    """A short directory of this user, or the system's temporary one."""
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    return run if run and len(run) <= _LONGEST and os.access(run, os.W_OK) else "/tmp"


def started(pid: int) -> str | None:
    """When a process started, in the system's own words; None when there is no such process. A pid alone is reused."""
    if os.path.isdir("/proc/self"):
        try:
            with open(f"/proc/{pid}/stat") as stream:
                return stream.read().rpartition(")")[2].split()[19]
        except OSError:
            return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def clear_dead() -> None:
    """Remove the directories of servers that are gone: killed, or lost with a crash of the machine."""
    base = _base()
    for name in os.listdir(base):
        root = os.path.join(base, name)
        if not name.startswith(PREFIX) or not _is_ours(root):
            continue
        try:
            with open(os.path.join(root, _MARKER)) as stream:
                owner = json.load(stream)
            if started(owner["pid"]) != owner["started"]:
                Premises(root, _checked_store(owner["store"], root)).remove()
        except (OSError, ValueError, KeyError, TypeError):  # half made or half removed by another server: let it be
            continue


def _is_ours(path: str) -> bool:
    """A real directory that belongs to this user; a link in a shared /tmp could point anywhere."""
    with suppress(OSError):
        found = os.lstat(path)
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False


def _checked_store(store: str, root: str) -> str:
    """The store a marker names, if it is one that `move_in` would make."""
    made = (os.path.join("/dev/shm", os.path.basename(root)), os.path.join(root, "store"))
    return store if store in made else made[1]


def record_links(root: str, links: dict[str, str]) -> None:
    """Write down the links outside its directories that this server uses: link to target."""
    half = os.path.join(root, "links.half")
    with open(half, "w") as stream:
        json.dump(links, stream)
    os.replace(half, os.path.join(root, _LINKS))


def links_of_others(root: str) -> set[str]:
    """Links that other servers of this user have written down."""
    base = os.path.dirname(root)
    others = (os.path.join(base, name) for name in os.listdir(base) if name.startswith(PREFIX))
    return {link for other in others if other != root and _is_ours(other) for link in _recorded(other)}


def _recorded(root: str) -> dict[str, str]:
    with suppress(OSError, ValueError), open(os.path.join(root, _LINKS)) as stream:
        links: dict[str, str] = json.load(stream)
        return links
    return {}


def remove_links(root: str) -> None:
    """Remove recorded links that nobody else uses and that still point where they did."""
    links = _recorded(root)
    others = links_of_others(root) if links else set()
    for link, target in links.items():
        if link not in others and os.path.islink(link) and os.readlink(link) == target:
            os.unlink(link)
