"""Parse `pip install` commands: packages, options, and packages for NVIDIA GPUs only. Pure functions."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PIP = (
    ("python", "-m", "pip", "install"),
    ("python3", "-m", "pip", "install"),
    ("pip", "install"),
    ("pip3", "install"),
    ("uv", "pip", "install"),
)
"""First words of an install command; the program's directory is ignored."""

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
"""Options with a value -> pip's name for them. Further options with a value are in `_IGNORED_WITH_VALUE`."""

_REQUIREMENTS = ("-r", "--requirement", "--requirements")
_IGNORED_WITH_VALUE = ("--python", "-p", "--target", "-t", "--root", "--prefix", "--timeout", "--retries")
_PRERELEASE = ("--prerelease", "allow")
_FLAGS = ("--pre", "--no-deps", "--no-build-isolation", "--upgrade", "-U", "--force-reinstall")
_TOOLS = frozenset({"pip", "wheel", "setuptools", "uv"})
"""Packages that the SDK's base layers install into every image; the notebook's versions stand for them."""

_NVIDIA_ONLY = re.compile(
    r"(apex|cupy-cuda\d+x|flash-attn|nvidia|tensorrt|transformer-engine|triton|vllm|xformers)(-.*)?"
)
"""Packages that need an NVIDIA GPU to compile or to be useful; many take minutes or gigabytes."""


@dataclass(frozen=True, slots=True)
class PipInstall:
    """One `pip install` command.

    Attributes:
        packages: requirements as written.
        options: options of pip, in order: indexes, links, flags.
        requirements: texts of requirement files.
    """

    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()


def read_install(command: str, files: Mapping[str, str]) -> PipInstall | None:
    """Parse a `pip install` or `uv pip install` command; None for other commands and unknown options."""
    words = words_of(command)
    if not words:
        return None
    words[0] = words[0].rpartition("/")[2]
    prefix = next((prefix for prefix in _PIP if tuple(words[: len(prefix)]) == prefix), None)
    return _read_arguments(words[len(prefix) :], files) if prefix else None


def _read_arguments(words: list[str], files: Mapping[str, str]) -> PipInstall | None:
    """Parse the arguments after `install`."""
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
    """Return whether every image has the package, in whatever version."""
    return package_of(requirement) in _TOOLS


def package_of(requirement: str) -> str:
    """Return the package name, in lower case, of a requirement or of a wheel's URL."""
    text = requirement.rpartition("/")[2].partition("-")[0] if requirement.endswith(".whl") else requirement
    return re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0].lower().replace("_", "-")


def is_nvidia_only(requirement: str) -> bool:
    """Return whether the package is useless without an NVIDIA driver."""
    return _NVIDIA_ONLY.fullmatch(package_of(requirement)) is not None


def without_cuda(requirement: str) -> str:
    """Remove CUDA extras from a requirement: `jax[cuda12]` becomes `jax`."""
    return re.sub(r"\[cuda\w*\]", "", requirement)


def words_of(command: str) -> list[str] | None:
    """Split a command into words; None if its quotes do not match."""
    try:
        return shlex.split(command.replace("$(command -v python)", "python"))
    except ValueError:
        return None
