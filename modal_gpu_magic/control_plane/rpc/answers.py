"""Errors of an RPC as gRPC statuses with one sentence: refusals, odd requests, and errors of the system."""

from __future__ import annotations

import errno
from shutil import Error as CopyError
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from grpclib import Status

from modal_gpu_magic.control_plane import refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFUSALS: Final[Mapping[type[refusals.Refusal], Status]] = {
    refusals.NotFound: Status.NOT_FOUND,
    refusals.Invalid: Status.INVALID_ARGUMENT,
    refusals.Exists: Status.ALREADY_EXISTS,
    refusals.Conflict: Status.FAILED_PRECONDITION,
    refusals.Full: Status.RESOURCE_EXHAUSTED,
    refusals.Unauthorized: Status.UNAUTHENTICATED,
    refusals.Forbidden: Status.PERMISSION_DENIED,
    refusals.Unsupported: Status.UNIMPLEMENTED,
}

_MALFORMED: Final = (ValueError, OverflowError, LookupError, RecursionError, DecodeError)
"""What Python raises for a number out of range, an unknown name, or text that is none."""

_ERRNOS: Final[Mapping[int, Status]] = {
    **dict.fromkeys(
        (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EILSEQ, errno.ENOTDIR, errno.EISDIR),
        Status.INVALID_ARGUMENT,
    ),
    errno.ENOENT: Status.NOT_FOUND,
    errno.EEXIST: Status.ALREADY_EXISTS,
    errno.ENOTEMPTY: Status.FAILED_PRECONDITION,
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), Status.PERMISSION_DENIED),
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EAGAIN), Status.RESOURCE_EXHAUSTED
    ),
}
"""What the system says of a path, a right or a limit. Other numbers are bugs."""


def answer_to(name: str, error: Exception) -> tuple[Status, str] | None:
    """Return the status and the sentence for an error of the RPC `name`; None: the error is a bug."""
    if isinstance(error, refusals.Refusal):
        return _REFUSALS[type(error)], str(error)
    if isinstance(error, CopyError):  # a list of files, each with its reason
        return Status.FAILED_PRECONDITION, f"{name} cannot copy files that are no plain files, or not readable."
    if isinstance(error, OSError):
        status = _ERRNOS.get(error.errno or 0)
        return None if status is None else (status, f"{name} failed on this machine: {error.strerror}.")
    if isinstance(error, _MALFORMED):
        return Status.INVALID_ARGUMENT, f"{name} was sent a value that it cannot use: {_line(error)}."
    return None


def _line(error: Exception) -> str:
    """Return an error's text as the end of a sentence: one line, without control characters."""
    text = " ".join("".join(each if each.isprintable() else " " for each in str(error)).split())
    return (text or type(error).__name__).rstrip(".")
