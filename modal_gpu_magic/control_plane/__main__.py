"""`python -m modal_gpu_magic.control_plane`: serve the process that started it; `... -- CMD ARGS`: run a command.

Without a command: one line of JSON on stdout as soon as connections are accepted, then it lives until stdin ends,
which is when its owner dies, by whatever death. With one: the command's environment points the Modal SDK here, and its
exit code is ours.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane import premises, standby

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Start the first standby, then everything that is slow to import, then serve."""
    options = _options(argv)
    home = premises.move_in()
    first = standby.start(os.path.join(home.root, "c0"))
    import asyncio

    from modal_gpu_magic.control_plane.running import run

    return asyncio.run(run(home, first, options.cancel_grace, options.command))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modal_gpu_magic.control_plane", description=__doc__)
    parser.add_argument(
        "--cancel-grace",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long a container may go on with a cancelled input before it is killed (30)",
    )
    parser.add_argument("command", nargs="*", metavar="CMD", help="a command to run, after --")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
