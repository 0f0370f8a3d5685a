"""Reading the layers of an image: what of a Dockerfile's lines can be done on this machine. Pure text.

`pip install` lines, environment variables and copied files are applied; base images, apt and other commands are not,
and are listed.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PIP = (
    ("python", "-m", "pip", "install"),
    ("python3", "-m", "pip", "install"),
    ("pip", "install"),
    ("pip3", "install"),
    ("uv", "pip", "install"),
)
"""How an install begins; the program's directory does not matter."""

_WITH_VALUE = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--default-index": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "--index": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "-c": "--constraint",
    "--constraint": "--constraint",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
    "--trusted-host": "--trusted-host",
}
"""Options with a value, and pip's name for them. Others with a value are in `_IGNORED_WITH_VALUE`."""

_REQUIREMENTS = ("-r", "--requirement", "--requirements")
_IGNORED_WITH_VALUE = ("--python", "-p", "--target", "-t", "--root", "--prefix", "--timeout", "--retries")
_PRERELEASE = ("--prerelease", "allow")
_FLAGS = ("--pre", "--no-deps", "--no-build-isolation", "--upgrade", "-U", "--force-reinstall")
_TOOLS = frozenset({"pip", "wheel", "setuptools", "uv"})
"""Installed into every image by the SDK's own base layers; the notebook's stand for them."""

_OWN_BASE = re.compile(r"python:[0-9.]+-slim")
_OWN_LINES = (
    "debconf-set-selections",
    "apt-get update",
    "gcc gfortran build-essential",
    "ln -s /usr/local/bin/python3",
)
"""Parts of commands that the SDK itself puts in front of a user's."""

_SILENT = frozenset({"SHELL", "CMD", "ENTRYPOINT", "LABEL", "EXPOSE", "STOPSIGNAL", "ARG", "USER"})
"""Instructions that change nothing for code that runs here."""


@dataclass(frozen=True, slots=True)
class PipInstall:
    """One `pip install`.

    Attributes:
        packages: requirements as written.
        options: pip's own, in order: index, links, flags.
        requirements: texts of requirement files.
    """

    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """One `COPY` of files or directories of the build's own files."""

    sources: tuple[str, ...]
    target: str

    def of(self, path: str) -> str | None:
        """Where a file at `path` among the build's files goes; None if it is not copied."""
        for source in self.sources:
            top = posixpath.normpath(f"/{source}")
            if path == top:
                into = self.target.endswith("/") or len(self.sources) > 1
                return posixpath.join("/", self.target, posixpath.basename(path)) if into else f"/{self.target}"
            if top == "/" or path.startswith(f"{top}/"):
                return posixpath.join("/", self.target, posixpath.relpath(path, top))
        return None


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer of an image means on this machine."""

    environment: tuple[tuple[str, str], ...] = ()
    installs: tuple[PipInstall, ...] = ()
    copies: tuple[Copy, ...] = ()
    not_applied: tuple[str, ...] = ()
    """Instructions that a container here does without."""


def read_layer(commands: Sequence[str], files: Mapping[str, str]) -> Layer:
    """The meaning of Dockerfile lines. `files` are the texts of the build's context files by name."""
    environment: list[tuple[str, str]] = []
    installs: list[PipInstall] = []
    copies: list[Copy] = []
    not_applied: list[str] = []
    copied = dict(files)
    for instruction, rest in _instructions(commands):
        if instruction == "ENV":
            environment += _variables(rest)
        elif instruction == "COPY":
            source, _, target = rest.rpartition(" ")
            if source in files:
                copied[target] = files[source]
            elif copy := _read_copy(rest):
                copies.append(copy)
            else:
                not_applied.append(f"COPY {rest}")
        elif instruction == "RUN":
            for command in _commands(rest):
                install = read_install(command, copied)
                if install is None:
                    not_applied += [] if any(part in command for part in _OWN_LINES) else [f"RUN {command}"]
                elif install.packages or install.requirements:
                    installs.append(install)
        elif not (instruction in _SILENT or (instruction == "FROM" and _is_plain_base(rest))):
            not_applied.append(f"{instruction} {rest}")
    return Layer(tuple(environment), tuple(installs), tuple(copies), tuple(not_applied))


def _read_copy(text: str) -> Copy | None:
    """Sources and a target; None for options and patterns, which are not followed here."""
    *sources, target = _words(text) or [""]
    if not sources or any(source.startswith("--") or set(source) & set("*?[") for source in sources):
        return None
    return Copy(tuple(sources), target)


def _is_plain_base(reference: str) -> bool:
    """The layer below, or the plain Python image that the notebook's environment stands for."""
    return reference == "base" or bool(_OWN_BASE.match(reference))


def _instructions(commands: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Instructions with their text; continued lines are joined."""
    for line in re.sub(r"\\\s*\n", " ", "\n".join(commands)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction and not instruction.startswith("#"):
            yield instruction.upper(), rest.strip()


def _commands(text: str) -> list[str]:
    """The commands of a RUN line."""
    return [command.strip() for command in text.split("&&") if command.strip()]


def _variables(text: str) -> list[tuple[str, str]]:
    """`A=1 B='x y'`, or the old form `A 1`."""
    words = _words(text) or []
    if words and "=" not in words[0]:
        return [(words[0], text.partition(" ")[2].strip())]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]


def _words(command: str) -> list[str] | None:
    """A command's words; None when its quotes do not match."""
    try:
        return shlex.split(command.replace("$(command -v python)", "python"))
    except ValueError:
        return None


def read_install(command: str, files: Mapping[str, str]) -> PipInstall | None:
    """A `pip install` or `uv pip install` command; None for any other, or one with an option that is not known."""
    words = _words(command)
    if not words:
        return None
    words[0] = words[0].rpartition("/")[2]
    prefix = next((prefix for prefix in _PIP if tuple(words[: len(prefix)]) == prefix), None)
    return _read_arguments(words[len(prefix) :], files) if prefix else None


def _read_arguments(words: list[str], files: Mapping[str, str]) -> PipInstall | None:
    """Sort the words behind `install`."""
    packages: list[str] = []
    options: list[str] = []
    requirements: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in _REQUIREMENTS:
            text = files.get(value or next(rest, ""))
            if text is None:
                return None
            requirements.append(text)
        elif name in _WITH_VALUE:
            options += [_WITH_VALUE[name], value if equals else next(rest, "")]
        elif name in _IGNORED_WITH_VALUE or name == _PRERELEASE[0]:
            value = value if equals else next(rest, "")
            options += ["--pre"] if (name, value) == _PRERELEASE else []
        elif name in _FLAGS:
            options.append(name)
        elif not word.startswith("-") and not _is_tool(word):
            packages.append(word)
    return PipInstall(tuple(packages), tuple(options), tuple(requirements))


def _is_tool(requirement: str) -> bool:
    """A package that every image has, whatever its version."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower() in _TOOLS
