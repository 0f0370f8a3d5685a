"""When a file that is to be copied need not be: what is known of both sides, compared. Pure.

Modal tells of a file on a Volume its size and the second of its last change, and no hash. Two changes within a second
look alike, so a second that is not over proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from modal_gpu_magic.wire.messages.events import FileThere

SECOND = 1_000_000_000

Standing = Literal["absent", "same", "ours", "other"]


@dataclass(frozen=True, slots=True)
class FileHere:
    """A local file.

    Attributes:
        nbytes: its size.
        changed_ns: the time that its content claims to be of, nanoseconds of the epoch: a fetched one has that of the
            file it was fetched from, a whole second; one written here as good as never has.
        touched: when it was last touched at all, seconds.
    """

    nbytes: int
    changed_ns: int
    touched: float


@dataclass(frozen=True, slots=True)
class Note:
    """What is remembered of a file that was put: the Volume's size and second of change, and the content's hash."""

    nbytes: int
    changed: int
    digest: str


def standing(here: FileHere | None, there: FileThere) -> Standing:
    """What a local file is to the one that would be fetched in its place.

    A fetched file gets the time of the one it was fetched from, so it is known again: `same` if nothing can have
    changed since, `ours` if it was fetched within the very second of the change (fetch again, nothing of the user's is
    lost), `other` if it is something else (not to be overwritten unasked).
    """
    if here is None:
        return "absent"
    if (here.nbytes, here.changed_ns) != (there.nbytes, there.changed * SECOND):
        return "other"
    return "same" if here.touched >= there.changed + 1 else "ours"


def is_unchanged(note: Note | None, there: FileThere | None, digest: str) -> bool:
    """Whether the Volume has this very content: it was put from here, and nobody has written there since."""
    return (
        note is not None
        and there is not None
        and (note.nbytes, note.changed, note.digest) == (there.nbytes, there.changed, digest)
    )
