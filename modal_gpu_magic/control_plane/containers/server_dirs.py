"""Where a server lives on disk: its directory of sockets and containers, and its store of shared buffers.

Both are this user's alone (0700). A marker in each says whose it is, so that the next server removes what a dead one
left.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PREFIX = "mgm-"
UNMARKED = 60.0
"""Seconds after which a directory that nobody has marked as theirs is taken for left over."""

_MARKER = "owner.json"
_LINKS = "links.json"
_ENDED = ("Z", "X", "")
"""States of a process that has ended, though its parent may not have noticed."""

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made there, 0700, with a random name
_TEMPORARY = Path("/tmp")  # noqa: S108 - likewise; TMPDIR is too long for a socket's path on macOS
_LONGEST = 40
"""Longest base directory: socket paths end at 104 bytes on macOS, 107 on Linux, ours add up to 30."""


@dataclass(frozen=True, slots=True)
class Premises:
    """The two directories of one server; `shared` is in memory where the system has a file system there."""

    root: Path
    shared: Path

    @property
    def store(self) -> Path:
        """Where kernel and containers put their buffers."""
        return self.shared / "buffers"

    def remove(self) -> None:
        """Remove everything, links made outside included."""
        for directory in (self.shared, self.root):
            _remove(directory)


def move_in() -> Premises:
    """Make the directories and mark them as ours."""
    root = _base() / (PREFIX + os.urandom(4).hex())
    in_memory = os.access(_SHARED_MEMORY, os.W_OK)
    home = Premises(root, _SHARED_MEMORY / root.name if in_memory else root / "shared")
    mark = json.dumps({"pid": os.getpid(), "started": started(os.getpid())})
    for directory in (home.root, home.shared):
        directory.mkdir(mode=0o700)
        write_private(directory / _MARKER, mark)
    home.store.mkdir(mode=0o700)
    return home


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, from its first moment on; one that is there is replaced."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def make_private(path: Path) -> None:
    """Take a file's and its directory's rights from everybody else, where they are this user's."""
    for each, mode in ((path, 0o600), (path.parent, 0o700)):
        with suppress(OSError):
            found = each.lstat()
            if found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode) and stat.S_IMODE(found.st_mode) & ~mode:
                each.chmod(mode)


def _base() -> Path:
    """A short directory of this user, or the system's temporary one."""
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(run) if run and len(run) <= _LONGEST and os.access(run, os.W_OK) else _TEMPORARY


def started(pid: int) -> str | None:
    """When a living process started, in the system's own words; None when there is none. A pid alone is reused."""
    if Path("/proc/self").exists():
        try:
            # proc(5): after the name in brackets come the state, and as the 20th field the start
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in _ENDED else fields[19]
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, start = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition(" ")
    return start.strip() or None if state[:1] not in _ENDED else None


def clear_dead() -> None:
    """Remove the directories of servers that are gone: killed, or lost with a crash of the machine."""
    for base in (_base(), _SHARED_MEMORY):
        for directory in base.glob(f"{PREFIX}*"):
            if _is_ours(directory) and _is_dead(directory):
                _remove(directory)


def _is_dead(directory: Path) -> bool:
    """Its owner is gone; or nobody has marked it for a while: a kernel made it again, after its server had left."""
    try:
        owner = json.loads((directory / _MARKER).read_text())
        return bool(started(int(owner["pid"])) != owner["started"])
    except (OSError, ValueError, KeyError, TypeError):
        with suppress(OSError):
            return time.time() - directory.stat().st_mtime > UNMARKED
    return False


def _remove(directory: Path) -> None:
    _remove_links(directory)
    shutil.rmtree(directory, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    """A real directory that belongs to this user; a link in a shared /tmp could point anywhere."""
    with suppress(OSError):
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False


def record_links(root: Path, links: dict[Path, Path]) -> None:
    """Write down the links outside its directories that this server uses: link to target."""
    half = root / "links.half"
    write_private(half, json.dumps({str(link): str(target) for link, target in links.items()}))
    half.replace(root / _LINKS)


def links_of_others(root: Path) -> set[Path]:
    """Links that other servers of this user have written down."""
    others = (other for other in root.parent.glob(f"{PREFIX}*") if other != root and _is_ours(other))
    return {link for other in others for link in _recorded(other)}


def _recorded(root: Path) -> dict[Path, Path]:
    with suppress(OSError, ValueError):
        return {Path(link): Path(target) for link, target in json.loads((root / _LINKS).read_text()).items()}
    return {}


def leads_to(link: Path, target: Path) -> bool:
    """Whether `link` is a symbolic link to exactly `target`."""
    return link.is_symlink() and link.readlink() == target


def _remove_links(root: Path) -> None:
    """Remove recorded links that nobody else uses and that still point where they did."""
    links = _recorded(root)
    others = links_of_others(root) if links else set()
    for link, target in links.items():
        if link not in others and leads_to(link, target):
            link.unlink(missing_ok=True)
