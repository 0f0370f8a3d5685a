"""Parse the places of files: `VOLUME:/path`, `session:path`, or a local path. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from modal_gpu_magic.errors import CopyError

SESSION = "session"
"""The name of the working directory of the session's container, in the place of a Volume's name."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a Volume, or in the session's container.

    Attributes:
        volume: the Volume's name; `session` is the container's working directory.
        path: path relative to the root, without `.` and `..`; empty: the root. In a container the path may be absolute
            or start with `..`.
        into: the place was written with a slash at the end: a copy goes into this folder under its own name.
    """

    volume: str
    path: str = ""
    into: bool = False

    @classmethod
    def read(cls, text: str) -> Place:
        """Parse a place: `data:/runs/1`, `data:`, `session:model.pt`.

        Raises:
            CopyError: the text has no colon, the name is invalid, or the path leaves the Volume.
        """
        name, colon, path = text.partition(":")
        if not colon:
            raise CopyError(
                f"{text!r} is not a place on a Volume; write VOLUME:/path, such as data:/{text.strip('/')}."
            )
        if not _NAME.fullmatch(name):
            raise CopyError(f"{name!r} is not the name of a Volume; use up to 64 letters, digits, '.', '_' and '-'.")
        if ".." in path.split("/") and name != SESSION:
            raise CopyError(f"{text} leads out of {name}: a path on a Volume has no '..'.")
        clean = posixpath.normpath(path).strip("/") if path else ""
        root = "/" if name == SESSION and path.startswith("/") else ""
        return cls(name, root + ("" if clean == "." else clean), path.endswith("/") or not path)

    @property
    def is_session(self) -> bool:
        """Whether the place is in the session's container."""
        return self.volume == SESSION

    @property
    def name(self) -> str:
        """The last part of the path; of a root, the name of the Volume."""
        return posixpath.basename(self.path) or self.volume

    @property
    def above(self) -> Place:
        """The folder that contains the place."""
        return Place(self.volume, posixpath.dirname(self.path))

    def below(self, path: str) -> Place:
        """Return a place below this one."""
        return Place(self.volume, posixpath.join(self.path, path).rstrip("/"))

    def __str__(self) -> str:
        """Return the place in the syntax of `read`."""
        return f"{self.volume}:{self.path}" if self.is_session else f"{self.volume}:/{self.path}"


def goes_into(path: str) -> bool:
    """Whether a local path is a folder into which a copy goes under its own name: `.`, `..`, `runs/`."""
    return path.endswith("/") or posixpath.basename(path) in (".", "..")
