"""Install packages that a running container lacks, with a note; the next container has them in its image."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TAIL_LINES = 5
"""Lines of pip's output shown when pip fails."""

_done: set[str] = set()


def missing(imports: Mapping[str, str]) -> tuple[str, ...]:
    """Return the requirements of modules that cannot be found in the container."""
    return tuple(requirement for module, requirement in imports.items() if not _found(module))


def install(installs: tuple[str, ...], imports: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Install the missing packages of `--pip` and of the cell's imports.

    A failure is reported with `say` and not raised: the cell's own import then names the package.
    """
    wanted = tuple(dict.fromkeys(r for r in (*installs, *missing(imports)) if r not in _done))
    if not wanted:
        return
    began = time.monotonic()
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-TAIL_LINES:])
        say(f"could not install {', '.join(wanted)}:\n{tail}")
        return
    _done.update(wanted)
    say(f"installed {', '.join(wanted)} into the running container in {time.monotonic() - began:.0f} s")


def _found(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
