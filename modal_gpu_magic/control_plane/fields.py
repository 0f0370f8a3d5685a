"""Checks of request fields: each returns the value, or raises Invalid with one sentence."""

from __future__ import annotations

import math
import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.refusals import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME_BYTES = 255
"""Most bytes of a name in a path on Linux and macOS."""

PATH_BYTES = 1024
"""Most bytes of a path on macOS; Linux has 4096."""

SHOWN = 60
"""Most characters of a value in an error."""

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}")

_SHA256 = re.compile(r"[0-9a-f]{64}")


def shown(value: str) -> str:
    """Return a value of a request as an error shows it: quoted, without control characters, and short."""
    return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}…")


def absolute_path(text: str, what: str) -> str:
    """Return the normal form of an absolute path below the root."""
    path = os.path.normpath(_path(text, what))
    if not path.startswith("/") or not path.strip("/"):
        raise Invalid(f"{what} {shown(text)} is not an absolute path below the root directory.")
    return path


def inner_path(text: str, what: str) -> PurePosixPath:
    """Return a path inside a directory, with or without a leading slash."""
    path = PurePosixPath(_path(text, what).strip("/"))
    if ".." in path.parts:
        raise Invalid(f"{what} {shown(text)} leaves its directory.")
    return path


def _path(text: str, what: str) -> str:
    names = text.encode("utf-8", "surrogateescape").split(b"/")
    if "\0" in text or max(map(len, names)) > NAME_BYTES or sum(map(len, names)) > PATH_BYTES:
        raise Invalid(f"{what} {shown(text)} is not a path: a name has at most {NAME_BYTES} bytes and no zero byte.")
    return text


def object_name(text: str, what: str) -> str:
    """Return the name of an app, a queue or a dict, as the SDK allows it."""
    if not _NAME.fullmatch(text):
        raise Invalid(f"{what} cannot have the name {shown(text)}: use 1 to 64 letters, digits, '.', '_' and '-'.")
    return text


def sha256(text: str, what: str) -> str:
    """Return a SHA-256 hash in hex."""
    if not _SHA256.fullmatch(text):
        raise Invalid(f"{shown(text)} is not the SHA-256 hash of {what}.")
    return text


def variables(values: Mapping[str, str], what: str) -> dict[str, str]:
    """Return environment variables that a process can have. The error has no value, which may be a secret."""
    for name, value in values.items():
        if not name or "=" in name or "\0" in name:
            raise Invalid(f"{what} has {shown(name)}, which is not the name of an environment variable.")
        if "\0" in value:
            raise Invalid(f"{what} has a zero byte in the value of {shown(name)}.")
    return dict(values)


def number(value: float, low: float, high: float, what: str) -> float:
    """Return a finite number from `low` to `high`."""
    if not math.isfinite(value) or not low <= value <= high:
        raise Invalid(f"{what} is a number from {low:,g} to {high:,g}, not {value:,g}.")
    return value
