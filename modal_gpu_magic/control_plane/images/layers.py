"""Parse the layers of an image into what the local backend can apply. Pure functions of text.

`pip install` lines, environment variables and copied files are applied. Base images, apt and other commands are only
listed.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.images.installs import PipInstall, read_install, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PLAIN_BASE = re.compile(r"python:[0-9.]+-slim")
_SDK_COMMANDS = (
    "debconf-set-selections",
    "apt-get update",
    "gcc gfortran build-essential",
    "ln -s /usr/local/bin/python3",
)
"""Parts of commands that the SDK adds to every image."""

_NO_EFFECT = frozenset({"SHELL", "CMD", "ENTRYPOINT", "LABEL", "EXPOSE", "STOPSIGNAL", "ARG", "USER"})
"""Instructions without effect on code in a local container."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One `COPY` instruction for files of the build context."""

    sources: tuple[str, ...]
    target: str

    def of(self, path: str) -> str | None:
        """Return the target of the context file at `path`; None if the file is not copied."""
        for source in self.sources:
            top = _absolute(source)
            if path == top:
                into = self.target.endswith("/") or len(self.sources) > 1
                return _absolute(f"{self.target}/{posixpath.basename(path)}" if into else self.target)
            if top == "/" or path.startswith(f"{top}/"):
                return _absolute(f"{self.target}/{posixpath.relpath(path, top)}")
        return None


@dataclass(frozen=True, slots=True)
class Layer:
    """Effects of one image layer in the local backend."""

    environment: tuple[tuple[str, str], ...] = ()
    installs: tuple[PipInstall, ...] = ()
    copies: tuple[Copy, ...] = ()
    not_applied: tuple[str, ...] = ()
    """Instructions that the local backend does not apply."""


def read_layer(commands: Sequence[str], files: Mapping[str, str]) -> Layer:
    """Parse Dockerfile lines. `files` has the texts of the context files by name."""
    reader = _Reader(files)
    for instruction, rest in _instructions(commands):
        if instruction in _READ:
            _READ[instruction](reader, rest)
        elif not (instruction in _NO_EFFECT or (instruction == "FROM" and _is_plain_base(rest))):
            reader.not_applied.append(f"{instruction} {rest}")
    return Layer(tuple(reader.environment), tuple(reader.installs), tuple(reader.copies), tuple(reader.not_applied))


class _Reader:
    """Effects of the lines parsed so far."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files, self._copied = files, dict(files)
        self.environment: list[tuple[str, str]] = []
        self.installs: list[PipInstall] = []
        self.copies: list[Copy] = []
        self.not_applied: list[str] = []

    def env(self, rest: str) -> None:
        self.environment += _variables(rest)

    def copy(self, rest: str) -> None:
        source, _, target = rest.rpartition(" ")
        if source in self._files:
            self._copied[target] = self._files[source]
        elif copy := _read_copy(rest):
            self.copies.append(copy)
        else:
            self.not_applied.append(f"COPY {rest}")

    def run(self, rest: str) -> None:
        for command in filter(None, map(str.strip, rest.split("&&"))):
            install = read_install(command, self._copied)
            if install is None:
                self.not_applied += [] if any(part in command for part in _SDK_COMMANDS) else [f"RUN {command}"]
            elif install.packages or install.requirements:
                self.installs.append(install)


_READ = {"ENV": _Reader.env, "COPY": _Reader.copy, "RUN": _Reader.run}


def _read_copy(text: str) -> Copy | None:
    """Parse sources and target; None for options and patterns, which are not supported."""
    *sources, target = words_of(text) or [""]
    if not sources or any(source.startswith("--") or set(source) & set("*?[") for source in sources):
        return None
    return Copy(tuple(sources), target)


def _absolute(path: str) -> str:
    """Return a path relative to the root, where a build starts, as an absolute path."""
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")


def _is_plain_base(reference: str) -> bool:
    """Return whether a FROM names the layer below, or the plain Python image (the notebook's environment instead)."""
    return reference == "base" or bool(_PLAIN_BASE.match(reference))


def _instructions(commands: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield instructions with their arguments, joining continued lines."""
    for line in re.sub(r"\\\s*\n", " ", "\n".join(commands)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction and not instruction.startswith("#"):
            yield instruction.upper(), rest.strip()


def _variables(text: str) -> list[tuple[str, str]]:
    """Parse `A=1 B='x y'` or the older form `A 1`."""
    words = words_of(text) or []
    if words and "=" not in words[0]:
        return [(words[0], text.partition(" ")[2].strip())]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]
