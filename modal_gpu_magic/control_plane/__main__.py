"""`python -m modal_gpu_magic.control_plane`: serve the process that started it; `... -- CMD ARGS`: run a command.

Without a command: print one line of JSON to stdout when the server accepts connections, and run until stdin ends, which
also happens when the owner is killed. With a command: run the command with the Modal SDK connected to this server, and
exit with its exit code.
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
"""Seconds between the cancellation of an input and the end of a container that still runs it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line.

    Attributes:
        cancel_grace: seconds before a container that ignores a cancellation is killed.
        command: command to run; empty: serve the parent process.
    """

    cancel_grace: float = CANCEL_GRACE
    command: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    """Start the first standby process, import the rest meanwhile, and serve. Returns the exit code."""
    owner = os.getppid()  # read first: the owner may end during the imports
    options = read_options(argv) if argv else Options()
    forget_working_directory()
    from modal_gpu_magic.control_plane.containers import server_dirs, standby

    dirs = server_dirs.create()
    first = standby.start(dirs.root / "c0")
    import asyncio

    from modal_gpu_magic.control_plane.running import run

    return asyncio.run(run(dirs, first, options.cancel_grace, options.command, owner))


def forget_working_directory() -> None:
    """Remove the working directory from the import path, where `-m` puts it: its modules could shadow the library's."""
    package = Path(__file__).parents[2]
    if sys.path and Path(sys.path[0]).absolute() == Path.cwd() != package:
        del sys.path[0]


def read_options(argv: Sequence[str]) -> Options:
    """Parse the command line; exit with a message if it is wrong."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m modal_gpu_magic.control_plane", description=__doc__)
    parser.add_argument(
        "--cancel-grace",
        type=float,
        default=CANCEL_GRACE,
        metavar="SECONDS",
        help=f"seconds a container may ignore a cancellation before being killed ({CANCEL_GRACE:g})",
    )
    parser.add_argument("command", nargs="*", metavar="CMD", help="a command to run, after --")
    read = parser.parse_args(argv)
    return Options(read.cancel_grace, tuple(read.command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
