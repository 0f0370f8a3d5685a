"""Parse and check one value of an option; durations and sizes are in `units`.

Every reader takes the text of one value, and raises a LineError that states the text to write instead. The tables in
`kinds` and `options` assign readers to options.
"""

from __future__ import annotations

import builtins
import keyword
import posixpath
import re
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.catalog.prices import DEFAULT_CORES
from modal_gpu_magic.line.scan import refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# Factories of readers: for a shape, a range or a list.


def shaped(pattern: str, must: str, mend: Callable[[str], str], example: str) -> Callable[[str], str]:
    """Make a reader for texts of one shape; it suggests the result of `mend` (a text or a list), or the example."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            meant = mend(text)
            good = all(re.fullmatch(pattern, part, re.ASCII) for part in meant.split(","))
            raise refusal(f"{text} is not {must}; write {meant if good else f'for example {example}'}.", text)
        return text

    return read


def ranged(
    read: Callable[[str], int], write: Callable[[int], str], low: int, high: int | None = None
) -> Callable[[str], int]:
    """Make a reader with bounds; it suggests the nearest value inside."""

    def inside(text: str) -> int:
        value = read(text)
        if value < low or (high is not None and value > high):
            bounds = f"at least {write(low)}" if high is None else f"{write(low)} to {write(high)}"
            meant = write(low if value < low or high is None else high)
            raise refusal(f"{text} is out of range ({bounds}); did you mean {meant}?", text)
        return value

    return inside


def listed(choices: Collection[str], noun: str) -> Callable[[str], str]:
    """Make a reader for a few words."""

    def read(text: str) -> str:
        if text not in choices:
            meant = _meant(nearest(text, choices, limit=1), f"write {either(choices)}.")
            raise refusal(f"{text} is not {noun}; {meant}", text)
        return text

    return read


def _meant(near: list[str], default: str) -> str:
    return f"did you mean {near[0]}?" if near else default


def _keeping(allowed: str) -> Callable[[str], str]:
    """Make a function that strips invalid characters at the ends of a text and replaces others by a dash."""
    return lambda text: re.sub(rf"[^{allowed}]+", "-", text).strip("._-")


OBJECT_NAME = r"[a-zA-Z0-9_.-]{1,64}"
"""Names of Volumes and Secrets (modal/_utils/name_utils.py, 1.6.4)."""

read_object = shaped(OBJECT_NAME, "a name Modal takes (letters, digits, - _ .)", _keeping("a-zA-Z0-9_.-"), "mine")

read_session = shaped(
    r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}",
    "a session's name (up to 32 letters, digits, - _ .)",
    _keeping("a-zA-Z0-9_.-"),
    "big",
)

ANY_REGION = "any"
"""The value of `--region` that takes back a session's region."""
_ANYWHERE = frozenset({"any", "anywhere", "none", "auto", "*"})

_read_named_region = shaped(
    r"[a-z]+(-[a-z0-9]+)*", "a region", lambda text: re.sub(r"[_.\s]+", "-", text.lower()), "us-east"
)


def read_region(text: str) -> str:
    """Parse a region; `any`, `anywhere` and the like mean ANY_REGION."""
    return ANY_REGION if text.lower() in _ANYWHERE else str(_read_named_region(text))


read_debian = shaped(
    r"[a-z0-9][a-z0-9.+-]*(=[a-zA-Z0-9.+:~-]+)?",
    "a Debian package",
    lambda text: "" if text.startswith("-") else ",".join(map(_keeping("a-z0-9.+-"), text.lower().split())),
    "ffmpeg",
)

read_reference = shaped(
    r"[a-zA-Z0-9][a-zA-Z0-9._/-]*(:[0-9]+/[a-zA-Z0-9._/-]+)?(:[a-zA-Z0-9._-]+)?(@[a-z0-9]+:[a-fA-F0-9]+)?",
    "a registry reference",
    lambda text: re.sub(r"^[a-z]+://|[^a-zA-Z0-9._/:@-]", "", text).rstrip("/:@"),
    "nvcr.io/nvidia/pytorch:25.10-py3",
)


def read_image(text: str) -> str:
    """Parse a registry reference (with `:`, `/` or `@`), a preset, or the name of a modal.Image variable."""
    if re.search(r"[:/@]", text):
        return read_reference(text)
    if text not in PRESETS and not text.isidentifier():
        meant = _meant(nearest(text, PRESETS, limit=1), f"presets are {', '.join(PRESETS)}.")
        raise refusal(f"{text} is neither a preset, a registry reference nor a variable; {meant}", text)
    return text


# Packages. Options (`-r x`, `torch --index-url ...`) would reach pip, so they are refused.

_VERSION = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+"
_URL = r"(?:git\+|hg\+|svn\+)?(?:https?|ssh)://[^\s'\"]+"
_REQUIREMENT = (
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    rf"(?:@\s*{_URL}|{_VERSION}(?:\s*,\s*{_VERSION})*)?\s*(?:;[^;]+)?|{_URL}"
)


def read_package(text: str) -> str:
    """Parse a requirement for pip: name, extras, versions, marker, or a URL. Never an option."""
    text = text.strip()
    option = next((part for part in text.split() if part.startswith("-")), None)
    if option:
        package = text.partition(option)[0].strip() or "their names, such as torch,einops"
        raise refusal(f"{option} is an option for pip and --pip takes packages only; write {package}.", text)
    is_file = text.lower().endswith(_LISTS) and "://" not in text
    if is_file or not re.fullmatch(_REQUIREMENT, text):
        raise refusal(f"{text} is not a package; {_meant_package(text)}", text)
    return text


_LISTS = (".txt", ".toml", ".in", ".lock", ".yml", ".yaml", ".cfg")
"""Endings of files that list packages."""


def _meant_package(text: str) -> str:
    if text.lower().endswith(_LISTS):
        return "write the packages that the file names, such as torch,einops."
    bare = text.strip("[](){}'\"")
    if bare != text and re.fullmatch(_REQUIREMENT, bare):
        return f"did you mean {bare}?"
    pinned = re.fullmatch(r"([\w.-]+)[=:@]([\w.]+)", text, re.ASCII)
    if pinned:
        return f"did you mean {pinned[1]}=={pinned[2]}?"
    several = text.split()
    if len(several) > 1 and all(re.fullmatch(_REQUIREMENT, part) for part in several):
        return f"did you mean {','.join(several)}?"
    return "write a name and perhaps a version, such as torch or torch>=2.1."


def package_name(text: str) -> str:
    """Return the normalised project name of a requirement (as on PyPI), or the URL of a bare URL."""
    from packaging.utils import canonicalize_name

    match = re.fullmatch(_REQUIREMENT, text)
    name = match["name"] if match else None
    return canonicalize_name(name) if name else text


# Volumes and variables.

_NO_MOUNT = ("/", "/root", "/tmp")  # noqa: S108 - paths at which Modal mounts nothing (modal/_utils/mount_utils.py, 1.6.4)


def read_volume(text: str) -> tuple[str, str]:
    """Parse `NAME:/path` into (name, path); the path is absolute, normalised, and allowed by Modal."""
    name, _, path = text.partition(":")
    if not re.fullmatch(OBJECT_NAME, name):
        last = re.sub(r"[^a-zA-Z0-9_.-]+", "-", name.rstrip("/").rpartition("/")[2]).strip("-.")[:64] or "data"
        raise refusal(f"{text} does not begin with the name of a Volume; write {last}:/{last}.", text)
    mended = posixpath.normpath("/" + (path.partition(":")[0].strip() or name).lstrip("/"))
    if path != mended or path in _NO_MOUNT:
        meant = f"/mnt/{name}" if mended in _NO_MOUNT else mended
        raise refusal(f"{text} has no path that Modal can mount at; write {name}:{meant}.", text)
    return name, path


_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def read_env(text: str) -> tuple[str, str | None]:
    """Parse `KEY=VALUE` into (key, value), and `NAME` into (name, None), for the notebook's value."""
    name, equals, value = text.partition("=")
    colon = re.match(rf"({_VARIABLE}):", name)
    if colon:
        raise refusal(f"A variable has its value after a =; write --env {colon[1]}=VALUE.", text)
    if not re.fullmatch(_VARIABLE, name):
        names = re.findall(_VARIABLE, name) or ["NAME"]
        meant = f"{names[0]}=VALUE" if equals else " --env ".join(names)
        fault = "does not begin with" if equals else "is not"
        raise refusal(f"{name}{equals} {fault} the name of a variable; write --env {meant}.", text)
    return name, value if equals else None


def read_variable(text: str) -> str:
    """Parse the name of a Python variable."""
    if not text.isidentifier() or keyword.iskeyword(text):
        name = re.search(_VARIABLE, text)
        meant = name[0] if name and not keyword.iskeyword(name[0]) else "for example x"
        raise refusal(f"{text} is not the name of a variable; write {meant}.", text)
    return text


def read_service(text: str) -> str:
    """Parse the name of a service, which is also the name of its variable."""
    return _read_new_name(text, "--service", "model")


def read_background(text: str) -> str:
    """Parse the name of a background cell, which is also the name of the variable with its handle."""
    return _read_new_name(text, "--bg", "run")


def _read_new_name(text: str, flag: str, example: str) -> str:
    """Parse a name that an option binds: no built-in, and none that IPython hides."""
    name = read_variable(text)
    if hasattr(builtins, name) or name.startswith("_"):
        reason = "one of Python's own names" if hasattr(builtins, name) else "a hidden name"
        raise refusal(f"{name} is {reason}; write for example {flag} my_{name.strip('_') or example}.", text)
    return name


# Numbers.


def read_whole(text: str) -> int:
    """Parse a whole number."""
    if not re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        raise refusal(f"{text} is not a whole number; write for example 4.", text)
    return int(text)


def write_processes(count: int) -> str:
    """Format a number of processes; empty for one per GPU."""
    return str(count) if count else ""


def read_rank(text: str) -> str:
    """Parse a rank, or `all`."""
    if text != "all" and not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise refusal(f"{text} is not a rank; write numbers, such as 0,3, or all.", text)
    return text if text == "all" else str(int(text))


def counted(low: int, high: int) -> Callable[[str], int]:
    """Make a reader for whole numbers with bounds."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
            number = re.search(r"[0-9]{1,9}", text, re.ASCII)
            meant = min(max(int(number[0]), low), high) if number else low or 1
            raise refusal(f"{text} is not a whole number; did you mean {meant}?", text)
        if not low <= int(text) <= high:
            meant = low if int(text) < low else high
            raise refusal(f"{text} is out of range ({low} to {high}); did you mean {meant}?", text)
        return int(text)

    return read


def read_cores(text: str) -> float:
    """Parse a number of physical cores; fractions are allowed."""
    number = re.match(r"[0-9]{1,4}(?:\.[0-9]{1,6})?", text)
    if not number or number[0] != text:
        raise refusal(f"{text} is not a number of cores; write {number[0] if number else 'for example 4'}.", text)
    if float(text) < DEFAULT_CORES:
        raise refusal(f"{text} is less than Modal gives; write {DEFAULT_CORES} or more.", text)
    return float(text)


PYTHONS = (10, 15)
"""Oldest and newest minor of Python 3 in Modal's images (builder 2025.06, SDK 1.6.4)."""


def read_python(text: str) -> str:
    """Parse a minor version of Python that Modal's images support: `3.12`."""
    low, high = PYTHONS
    match = re.fullmatch(r"3\.([0-9]{1,4})(?P<micro>\.[0-9]+)?", text, re.ASCII)
    minor = min(max(int(match[1]), low), high) if match else 12
    if not match or match["micro"] or int(match[1]) != minor:
        raise refusal(f"{text} is not a Python of Modal's (3.{low} to 3.{high}); write 3.{minor}.", text)
    return text
