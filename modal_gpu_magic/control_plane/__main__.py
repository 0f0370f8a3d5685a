"""`python -m modal_gpu_magic.control_plane`: serve the process that started it; `... -- CMD ARGS`: run a command.

Without a command: print one line of JSON to stdout when the server accepts connections, and run until stdin ends, which
also happens when the owner is killed. With a command: run the command with the Modal SDK connected to this server, and
exit with its exit code.

With `--lasting`, the server is the user's, and outlives whoever starts it. Without a command: find it, or start it,
print the line of JSON, and exit. With a command: run the command with the Modal SDK connected to it:

    python -m modal_gpu_magic.control_plane --lasting modal deploy app.py
    python -m modal_gpu_magic.control_plane --lasting python use.py
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
LINGER = 600.0
"""Seconds that a lasting server stays without a deployed app, without a container, and without a client's request."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line.

    Attributes:
        cancel_grace: seconds before a container that ignores a cancellation is killed.
        command: command to run; empty: serve the parent process.
        lasting: use the server that outlives its users.
        find: print the address of the lasting server that runs, or `null`, and start none.
        linger: seconds that a lasting server stays unused.
        lock: file descriptor of the lock that a lasting server got from who starts it; None: another kind of server.
    """

    cancel_grace: float = CANCEL_GRACE
    command: tuple[str, ...] = ()
    lasting: bool = False
    find: bool = False
    linger: float = LINGER
    lock: int | None = None


def main(argv: Sequence[str]) -> int:
    """Start the first fork server, import the rest meanwhile, and serve. Returns the exit code."""
    owner = os.getppid()  # read first: the owner may end during the imports
    forget_working_directory()
    options = read_options(argv) if argv else Options()
    if options.lasting or options.find:
        return use_lasting(options)
    from modal_gpu_magic.control_plane.containers import server_dirs
    from modal_gpu_magic.control_plane.containers.fork_server import ForkServer, hash_seed

    dirs = server_dirs.create()
    # A lasting server has many kernels, and its first one's seed is not that of the others.
    seed = hash_seed(os.environ) if options.lock is None else {}
    first = ForkServer(dirs.root / "f0", seed)
    import asyncio

    from modal_gpu_magic.control_plane.running import run, run_lasting

    if options.lock is not None:
        return asyncio.run(run_lasting(dirs, first, options.cancel_grace, options.linger, options.lock))
    return asyncio.run(run(dirs, first, options.cancel_grace, options.command, owner))


def use_lasting(options: Options) -> int:
    """Find or start the user's lasting server; print its address, or run the command that uses it."""
    from modal_gpu_magic.control_plane.lasting import command, finding

    try:
        if options.find:
            finding.show(finding.find())
            return 0
        record = finding.find_or_start(options.linger, options.cancel_grace)
    except finding.NoServer as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.command:
        command.become(record, options.command)
    finding.show(record)
    return 0


def forget_working_directory() -> None:
    """Remove the working directory from the import path, where `-m` puts it: its modules could shadow the library's."""
    package = Path(__file__).parents[2]
    if sys.path and Path(sys.path[0]).absolute() == Path.cwd() != package:
        del sys.path[0]


def read_options(argv: Sequence[str]) -> Options:
    """Parse the command line; exit with a message if it is wrong."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m modal_gpu_magic.control_plane",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cancel-grace",
        type=float,
        default=CANCEL_GRACE,
        metavar="SECONDS",
        help=f"seconds a container may ignore a cancellation before being killed ({CANCEL_GRACE:g})",
    )
    parser.add_argument(
        "--lasting", action="store_true", help="use the server of yours that outlives commands and kernels"
    )
    parser.add_argument("--find", action="store_true", help="print the address of that server, or null; start none")
    parser.add_argument(
        "--linger",
        type=float,
        default=LINGER,
        metavar="SECONDS",
        help=f"seconds after which a lasting server that is not used ends ({LINGER:g})",
    )
    parser.add_argument("--serve-lasting", type=int, metavar="LOCK", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="a command to run, with its arguments")
    read = parser.parse_args(argv)
    command = read.command[1:] if read.command[:1] == ["--"] else read.command
    return Options(read.cancel_grace, tuple(command), read.lasting, read.find, read.linger, read.serve_lasting)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
