"""Decide whether a file must be copied, by comparing the facts about both sides. Pure.

For a file on a Volume, Modal reports size and time of the last change in whole seconds, and no hash. Two changes within
one second cannot be distinguished.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from modal_gpu_magic.wire.messages.events import RemoteFile

SECOND = 1_000_000_000

Standing = Literal["absent", "same", "ours", "other"]


@dataclass(frozen=True, slots=True)
class FileHere:
    """A local file.

    Attributes:
        nbytes: size, bytes.
        changed_ns: modification time, nanoseconds since the epoch. A fetched file has the time of its source, which is
            a whole second; a file written locally almost never has a whole second.
        touched: time of the last change of content or metadata, seconds since the epoch.
    """

    nbytes: int
    changed_ns: int
    touched: float


@dataclass(frozen=True, slots=True)
class Note:
    """The record of an uploaded file.

    Attributes:
        nbytes: size on the Volume, bytes.
        changed: time of the change on the Volume, seconds since the epoch.
        digest: hash of the content.
    """

    nbytes: int
    changed: int
    digest: str


def standing(local: FileHere | None, remote: RemoteFile) -> Standing:
    """Compare a local file with the remote file that would replace it.

    A fetched file gets the time of its source. `same`: nothing can have changed since the fetch. `ours`: the file was
    fetched within the second of the change, so fetch again; no user data is lost. `other`: another file, which must not
    be overwritten without the user's consent. `absent`: no local file.
    """
    if local is None:
        return "absent"
    if (local.nbytes, local.changed_ns) != (remote.nbytes, remote.changed * SECOND):
        return "other"
    return "same" if local.touched >= remote.changed + 1 else "ours"


def is_unchanged(note: Note | None, remote: RemoteFile | None, digest: str) -> bool:
    """Whether the Volume has the same content: the file was uploaded, and nothing was written since."""
    return (
        note is not None
        and remote is not None
        and (note.nbytes, note.changed, note.digest) == (remote.nbytes, remote.changed, digest)
    )
