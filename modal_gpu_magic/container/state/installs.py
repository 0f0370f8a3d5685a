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
"""Lines of pip's output shown when pip fails."""

_done: set[str] = set()


def done() -> tuple[str, ...]:
    """Return the requirements that were installed into this container."""
    return tuple(sorted(_done))


def missing(imports: Mapping[str, str]) -> tuple[str, ...]:
    """Return the requirements of modules that cannot be found in the container."""
    return tuple(requirement for module, requirement in imports.items() if not _found(module))


def wanted(installs: tuple[str, ...], imports: Mapping[str, str]) -> tuple[str, ...]:
    """Return the requirements of `--pip` and of the cell's imports that are not installed yet."""
    return tuple(dict.fromkeys(r for r in (*installs, *missing(imports)) if r not in _done))


def install(wanted: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Install packages.

    A failure is reported with `say` and not raised: the cell's own import then names the package.
    """
    began = time.monotonic()
    before = versions(sys.modules)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-TAIL_LINES:])
        say(f"could not install {', '.join(wanted)}:\n{tail}")
        return
    _done.update(wanted)
    for line in imported_before(before):
        say(line)
    say(f"installed {', '.join(wanted)} into the running container in {time.monotonic() - began:.0f} s")


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
