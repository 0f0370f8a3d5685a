"""The directory by which a user's kernels and commands find the lasting control plane, and its lock.

  $XDG_RUNTIME_DIR/modal-gpu-magic/ENVIRONMENT/    mode 0700; without that variable, below the temporary directory
      lock          held while a server is looked for, started or ended
      server.json   mode 0600: the address and the token; its time is that of the last client that read it
      log           what the server writes to stderr

ENVIRONMENT names the Python environment: containers have its packages.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "modal-gpu-magic"
LOCK_POLL = 0.02
"""Seconds between attempts to get the lock."""
REACH_SECONDS = 5.0
"""Seconds that the server's socket may take to accept a connection; it does so even while the server is stopped."""


class NotPrivate(Exception):  # noqa: N818 - named after what it says
    """A directory or its place is not the user's alone; the text is one sentence."""


class Busy(Exception):  # noqa: N818 - likewise
    """Another process has held the lock for too long."""


@dataclass(frozen=True, slots=True)
class LastingDir:
    """The directory of the lasting control plane of one user and one Python environment."""

    path: Path

    @property
    def record(self) -> Path:
        """The file with the server's address and token."""
        return self.path / "server.json"

    @property
    def log(self) -> Path:
        """The file with the server's own messages."""
        return self.path / "log"

    def make(self) -> None:
        """Create the directory. Raises NotPrivate if it, or its parent, is a link or another user's."""
        for directory in (self.path.parent, self.path):
            make_own(directory, os.getuid())

    @contextlib.contextmanager
    def locked(self, within: float) -> Iterator[int]:
        """Hold the lock; yields its file descriptor. A child that inherits the descriptor holds the lock as well.

        Raises:
            Busy: another process held the lock for `within` seconds.
        """
        end = time.monotonic() + within
        while (lock := self.try_lock()) is None:
            if time.monotonic() > end:
                raise Busy
            time.sleep(LOCK_POLL)
        try:
            yield lock
        finally:
            os.close(lock)

    def try_lock(self) -> int | None:
        """Return the descriptor of the lock, which closing releases; None while another process holds it."""
        self.make()
        path = self.path / "lock"
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the server that ends has just removed the directory
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The server that ends removes the file: a lock on what was removed excludes nobody.
            if os.path.samestat(os.fstat(lock), path.lstat()):
                return lock
        except OSError:
            pass
        os.close(lock)
        return None

    def read(self) -> dict[str, Any] | None:
        """Return the record of the server; None if there is none, or the server has died."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
            path = str(record["url"]).removeprefix("unix://")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(REACH_SECONDS)
                connection.connect(path)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record

    def note_client(self) -> None:
        """Note that a client has found the server: it counts as one that has asked for something."""
        with contextlib.suppress(OSError):
            os.utime(self.record)

    def last_client(self) -> float:
        """Return when a client last found the server, in seconds of the epoch; 0: the record is gone."""
        with contextlib.suppress(OSError):
            return self.record.stat().st_mtime
        return 0.0

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the record of this server, whole and private from its first moment on."""
        temporary = self.path / f"server.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(record, file)
        temporary.replace(self.record)

    def forget(self, pid: int) -> None:
        """Remove the record of the server `pid`; that of another one stays."""
        with contextlib.suppress(OSError, ValueError):
            if json.loads(self.record.read_text(encoding="utf-8")).get("pid") == pid:
                self.record.unlink()

    def remove(self) -> None:
        """Remove the files and the directory. Only for who holds the lock."""
        for file in (self.record, self.log, self.path / "lock"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the parent has the directories of other environments
            self.path.rmdir()
            self.path.parent.rmdir()


def lasting_dir(environ: Mapping[str, str] = os.environ) -> LastingDir:
    """Return the directory of this user and this Python environment, which may not exist yet."""
    run = environ.get("XDG_RUNTIME_DIR", "")
    if run and _is_own(Path(run), os.getuid()):
        base = Path(run, NAME)
    else:
        base = Path(tempfile.gettempdir(), f"{NAME}-{os.getuid()}")
    environment = f"{sys.prefix}\0{sys.version_info[:2]}"
    return LastingDir(base / hashlib.sha256(environment.encode()).hexdigest()[:12])


def make_own(directory: Path, uid: int) -> None:
    """Create a directory of mode 0700, or take an existing one's rights from others.

    Raises:
        NotPrivate: the directory is a link, no directory, or does not belong to the user `uid`.
    """
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        if not _is_own(directory, uid):
            raise NotPrivate(
                f"{directory} is not a directory of yours: remove it, or set XDG_RUNTIME_DIR to a directory of yours."
            )
        if stat.S_IMODE(directory.lstat().st_mode) != 0o700:  # noqa: PLR2004 - the mode in the docstring
            directory.chmod(0o700)
    except OSError as error:
        raise NotPrivate(
            f"{directory} cannot be used ({error.strerror}): set XDG_RUNTIME_DIR to a directory of yours."
        ) from None


def _is_own(path: Path, uid: int) -> bool:
    """Return whether a path is a real directory, no link, and the user's."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == uid
    return False
