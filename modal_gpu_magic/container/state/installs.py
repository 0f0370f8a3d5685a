"""Install packages that a running container lacks, with a note; the next container has them in its image."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

TAIL_LINES = 5
"""Lines of pip's output in a note about packages that could not be installed."""
LOG_LINES = 30
"""Lines of pip's output in an error."""

_done: set[str] = set()


def done() -> tuple[str, ...]:
    """Return the requirements that were installed into this container."""
    return tuple(sorted(_done))


def missing(imports: Mapping[str, str]) -> tuple[str, ...]:
    """Return the requirements of modules that cannot be found in the container."""
    return tuple(requirement for module, requirement in imports.items() if not _found(module))


def wanted(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements that were not installed into this container, each once."""
    return tuple(dict.fromkeys(each for each in requirements if each not in _done))


def install(wanted: tuple[str, ...], say: Callable[[str], None]) -> str:
    """Install packages, and say so; return the end of pip's log if pip fails, and nothing otherwise."""
    began = time.monotonic()
    before = versions(sys.modules)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-color", "--disable-pip-version-check", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    importlib.invalidate_caches()
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-LOG_LINES:]
        return "\n".join(lines) or f"pip ended with status {done.returncode}"
    _done.update(wanted)
    for line in imported_before(before):
        say(line)
    say(f"installed {', '.join(wanted)} into the running container in {time.monotonic() - began:.0f} s")
    return ""


def install_or_say(wanted: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Install packages that the cell may not need; say if pip fails: the cell's own import then names the package."""
    if log := install(wanted, say):
        tail = "\n".join(log.splitlines()[-TAIL_LINES:])
        say(f"could not install {', '.join(wanted)}:\n{tail}")


def versions(modules: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the versions of the distributions that have one of the modules, by the top-level name of the module."""
    tops = {name.partition(".")[0] for name in modules}
    found = metadata.packages_distributions()
    return {top: {name: metadata.version(name) for name in found[top]} for top in sorted(tops & found.keys())}


def imported_before(before: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say which modules stay as they are, because they were imported before another version was installed."""
    now = versions(before)
    return [
        f"{top} {then[name]} is imported already, so {name} {version} takes effect in a new container: "
        "%modal_gpu stop ends this one."
        for top, then in before.items()
        for name, version in now.get(top, {}).items()
        if name in then and then[name] != version
    ]


def _found(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
