"""Places of files: `VOLUME:/path` or `session:path` there, a path here; and where a copy of something goes. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from modal_gpu_magic.errors import CopyError

SESSION = "session"
"""The name that means the working directory of the session's container instead of a Volume."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a Volume, or in the session's container.

    Attributes:
        volume: the Volume's name; `session` is the container's working directory.
        path: relative to its root, with no `.` or `..`; empty: the root itself. In a container it may be absolute, or
            begin with `..`, as a cell's paths may.
        into: whether it was written with a slash at its end: what is copied goes into it, under its own name.
    """

    volume: str
    path: str = ""
    into: bool = False

    @classmethod
    def read(cls, text: str) -> Place:
        """A place as it is written: `data:/runs/1`, `data:`, `session:model.pt`.

        Raises:
            CopyError: it has no colon, the name is no Volume's, or the path leads out of it.
        """
        name, colon, path = text.partition(":")
        if not colon:
            raise CopyError(
                f"{text!r} is no place on a Volume; write it VOLUME:/path, such as data:/{text.strip('/')}."
            )
        if not _NAME.fullmatch(name):
            raise CopyError(f"{name!r} is no name of a Volume: letters, digits, '.', '_' and '-', at most 64.")
        if ".." in path.split("/") and name != SESSION:
            raise CopyError(f"{text} leads out of {name}: a path there has no '..'.")
        clean = posixpath.normpath(path).strip("/") if path else ""
        root = "/" if name == SESSION and path.startswith("/") else ""
        return cls(name, root + ("" if clean == "." else clean), path.endswith("/") or not path)

    @property
    def is_session(self) -> bool:
        """Whether it is in the session's container."""
        return self.volume == SESSION

    @property
    def name(self) -> str:
        """Its last part; a root's is its Volume's."""
        return posixpath.basename(self.path) or self.volume

    @property
    def above(self) -> Place:
        """The folder it is in."""
        return Place(self.volume, posixpath.dirname(self.path))

    def below(self, path: str) -> Place:
        """A place further down."""
        return Place(self.volume, posixpath.join(self.path, path).rstrip("/"))

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.volume}:{self.path}" if self.is_session else f"{self.volume}:/{self.path}"


def goes_into(path: str) -> bool:
    """Whether a local path names a folder that a copy goes into, under its own name: `.`, `..`, `runs/`."""
    return path.endswith("/") or posixpath.basename(path) in (".", "..")
