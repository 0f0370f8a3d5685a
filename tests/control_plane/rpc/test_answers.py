"""What the peer is told of an error: one sentence and a status, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from grpclib import Status

from modal_gpu_magic.control_plane import refusals
from modal_gpu_magic.control_plane.rpc.answers import answer_to

MALFORMED = [
    ValueError("embedded null byte"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
    json.JSONDecodeError("two\nlines", "{}", 0),
    OverflowError("too large"),
    KeyError("x"),
    IndexError(),
    RecursionError("deep"),
    DecodeError("no message"),
    *(OSError(number, os.strerror(number)) for number in (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP)),
]


@pytest.mark.parametrize("error", MALFORMED, ids=repr)
def test_a_request_that_cannot_be_right(error: Exception) -> None:
    status, words = answer_to("RpcName", error) or (None, "")
    assert status == Status.INVALID_ARGUMENT
    assert words.startswith("RpcName ")
    assert words.endswith(".")
    assert words.isprintable()


@pytest.mark.parametrize(
    "number, status",
    [
        (errno.ENOENT, Status.NOT_FOUND),
        (errno.EACCES, Status.PERMISSION_DENIED),
        (errno.ENOSPC, Status.RESOURCE_EXHAUSTED),
        (errno.EMFILE, Status.RESOURCE_EXHAUSTED),
        (errno.EEXIST, Status.ALREADY_EXISTS),
    ],
)
def test_errors_of_the_system(number: int, status: Status) -> None:
    answer = answer_to("RpcName", OSError(number, os.strerror(number), "/secret/place"))
    assert answer == (status, f"RpcName failed on this machine: {os.strerror(number)}.")


def test_files_that_cannot_be_copied(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    with pytest.raises(shutil.Error) as caught:
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert (answer_to("VolumeCopyFiles", caught.value) or (None,))[0] == Status.FAILED_PRECONDITION


@pytest.mark.parametrize("kind", [each for each in vars(refusals).values() if isinstance(each, type)])
def test_every_refusal_has_a_status(kind: type) -> None:
    if issubclass(kind, refusals.Refusal) and kind is not refusals.Refusal:
        assert answer_to("RpcName", kind("why")) is not None


@pytest.mark.parametrize(
    "error", [TypeError("x"), AttributeError("x"), OSError(errno.EIO, "x"), OSError(), Exception()]
)
def test_bugs_are_bugs(error: Exception) -> None:
    assert answer_to("RpcName", error) is None
