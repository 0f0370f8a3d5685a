"""`python -m modal_gpu_magic.control_plane`: serve the process that started it; `... -- CMD ARGS`: run a command.

Without a command: one line of JSON on stdout as soon as connections are accepted, then it lives until stdin ends,
which is when its owner dies, by whatever death. With one: the command's environment points the Modal SDK here, and its
exit code is ours.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


CANCEL_GRACE = 30.0
"""Seconds a container may go on with a cancelled input before it is killed."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    cancel_grace: float = CANCEL_GRACE
    command: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Start the first standby, then everything that is slow to import, then serve."""
    owner = os.getppid()  # before anything else: it may be dead by the time we look again
    options = read_options(argv) if argv else Options()
    forget_working_directory()
    from modal_gpu_magic.control_plane.containers import server_dirs, standby

    home = server_dirs.move_in()
    first = standby.start(home.root / "c0")
    import asyncio

    from modal_gpu_magic.control_plane.running import run

    return asyncio.run(run(home, first, options.cancel_grace, options.command, owner))


def forget_working_directory() -> None:
    """Take the notebook's directory off the import path, where `-m` puts it: a `queue.py` there is not for us."""
    package = Path(__file__).parents[2]
    if sys.path and Path(sys.path[0]).absolute() == Path.cwd() != package:
        del sys.path[0]


def read_options(argv: Sequence[str]) -> Options:
    """The command line. Exits with a message on a wrong one, as command-line programs do."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m modal_gpu_magic.control_plane", description=__doc__)
    parser.add_argument(
        "--cancel-grace",
        type=float,
        default=CANCEL_GRACE,
        metavar="SECONDS",
        help=f"how long a container may go on with a cancelled input before it is killed ({CANCEL_GRACE:g})",
    )
    parser.add_argument("command", nargs="*", metavar="CMD", help="a command to run, after --")
    read = parser.parse_args(argv)
    return Options(read.cancel_grace, tuple(read.command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
