"""Directories of a server: for sockets and containers, for shared buffers, and for large files.

All have mode 0700. A marker file in each names the owning process, so that later servers remove the directories of
ended ones.
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

from platformdirs import user_cache_path

NAME = "modal-gpu-magic"
"""Name of the directory in the user's cache directory."""
PREFIX = "mgm-"
UNMARKED_SECONDS = 60.0
"""Age after which a directory without a marker counts as abandoned."""

LEAST_ROOM_BYTES = 1 << 20
"""Room that shared memory must have; without that, buffers are in the runtime directory."""

_MARKER = "owner.json"
_TRIAL = "trial"
_LINKS = "links.json"
_GONE = "-gone"
"""End of the name of a directory that is being removed; what is left of one is removed by the next server."""
_REMOVALS = 5
"""Attempts to remove a directory: a write that had found the directory before its new name may add a file."""
_ENDED = ("Z", "X", "")
"""States of a process that has ended but may not have been waited for."""

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only a random-named subdirectory, mode 0700, is used
_TEMPORARY = Path("/tmp")  # noqa: S108 - likewise; TMPDIR is too long for a socket's path on macOS
_MAX_BASE_LENGTH = 40
"""Longest base directory. Socket paths may have 104 bytes on macOS and 107 on Linux; this server appends up to 30."""


@dataclass(frozen=True, slots=True)
class ServerDirs:
    """The directories of one server.

    Attributes:
        root: sockets, containers and small files.
        shared: buffers; in /dev/shm if that exists.
        disk: large files: the runtime directory, in which `root` is, lies in memory on most machines.
    """

    root: Path
    shared: Path
    disk: Path

    @property
    def store(self) -> Path:
        """Directory in which kernel and containers put their buffers."""
        return self.shared / "buffers"

    def remove(self) -> None:
        """Remove the directories and the links outside them."""
        for directory in (self.shared, self.disk, self.root):
            _remove(directory)


def create() -> ServerDirs:
    """Create the directories and mark them with this process."""
    root = _base() / (PREFIX + os.urandom(4).hex())
    mark = json.dumps({"pid": os.getpid(), "started": started(os.getpid())})
    _make(root, mark)
    in_memory = os.access(_SHARED_MEMORY, os.W_OK) and _is_made(_SHARED_MEMORY / root.name, mark)
    shared = _SHARED_MEMORY / root.name if in_memory else root / "shared"
    dirs = ServerDirs(root, shared, cache / root.name if (cache := _cache()) else root / "disk")
    for directory in (dirs.disk,) if in_memory else (dirs.shared, dirs.disk):
        _make(directory, mark)
    dirs.store.mkdir(mode=0o700)
    return dirs


def _make(directory: Path, mark: str) -> None:
    directory.mkdir(mode=0o700)
    write_private(directory / _MARKER, mark)


def _is_made(directory: Path, mark: str) -> bool:
    """Make a directory on a file system that may be full; return whether it is there."""
    try:
        _make(directory, mark)
        (directory / _TRIAL).write_bytes(bytes(LEAST_ROOM_BYTES))
        (directory / _TRIAL).unlink()
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        return False
    return True


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
    """Return XDG_RUNTIME_DIR if usable and short enough, else /tmp."""
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(run) if run and len(run) <= _MAX_BASE_LENGTH and os.access(run, os.W_OK) else _TEMPORARY


def _cache() -> Path | None:
    """Return the user's cache directory of this package; None: it cannot be written."""
    with suppress(OSError):
        path = user_cache_path(NAME, appauthor=False)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(path, os.W_OK):
            return path
    return None


def started(pid: int) -> str | None:
    """Return the start time of a live process in the system's format, since pids are reused; None without a process."""
    if Path("/proc/self").exists():
        try:
            # proc(5): the fields after the name in brackets are the state and, as the 20th, the start time
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in _ENDED else fields[19]
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, start = subprocess.run(command, capture_output=True, text=True, check=False).stdout.partition(" ")
    return start.strip() or None if state[:1] not in _ENDED else None


def clear_dead() -> None:
    """Remove the directories of servers that have ended without doing so."""
    for base in filter(None, (_base(), _SHARED_MEMORY, _cache())):
        for directory in base.glob(f"{PREFIX}*"):
            if _is_ours(directory) and _is_dead(directory):
                _remove(directory)


def _is_dead(directory: Path) -> bool:
    """Return whether the owner has ended. An old directory without marker counts, e.g. one that a kernel re-created."""
    try:
        owner = json.loads((directory / _MARKER).read_text())
        return bool(started(int(owner["pid"])) != owner["started"])
    except (OSError, ValueError, KeyError, TypeError):
        with suppress(OSError):
            return time.time() - directory.stat().st_mtime > UNMARKED_SECONDS
    return False


def _remove(directory: Path) -> None:
    """Remove a directory. The rename comes first: a file that appears during the removal would keep the directory."""
    _remove_links(directory)
    gone = directory
    if not directory.name.endswith(_GONE):
        with suppress(OSError):
            gone = directory.rename(directory.with_name(directory.name + _GONE))
    for _ in range(_REMOVALS):
        shutil.rmtree(gone, ignore_errors=True)
        if not gone.exists():
            return


def _is_ours(path: Path) -> bool:
    """Return whether a path is a real directory of this user; in a shared /tmp, a link could point anywhere."""
    with suppress(OSError):
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return False


def record_links(root: Path, links: dict[Path, Path]) -> None:
    """Record the links outside its directories that this server uses: link to target."""
    temporary = root / "links.half"
    write_private(temporary, json.dumps({str(link): str(target) for link, target in links.items()}))
    temporary.replace(root / _LINKS)


def links_of_others(root: Path) -> set[Path]:
    """Return the links that other servers of this user have recorded."""
    others = (other for other in root.parent.glob(f"{PREFIX}*") if other != root and _is_ours(other))
    return {link for other in others for link in _recorded(other)}


def _recorded(root: Path) -> dict[Path, Path]:
    with suppress(OSError, ValueError):
        return {Path(link): Path(target) for link, target in json.loads((root / _LINKS).read_text()).items()}
    return {}


def leads_to(link: Path, target: Path) -> bool:
    """Return whether `link` is a symbolic link to exactly `target`."""
    return link.is_symlink() and link.readlink() == target


def _remove_links(root: Path) -> None:
    """Remove recorded links that no other server uses and that still point to their target."""
    links = _recorded(root)
    others = links_of_others(root) if links else set()
    for link, target in links.items():
        if link not in others and leads_to(link, target):
            link.unlink(missing_ok=True)
