"""`make bench`: every figure, printed as it is measured. Run it on a machine that does nothing else."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime

from tests.benchmarks import (
    cells,
    cloud,
    detached,
    files,
    front_ends,
    graphs,
    ranks,
    samples,
    saved_state,
    services,
    transfers,
)
from tests.benchmarks.table import HEAD

QUICK = (cells.load_ext, cells.warm, *graphs.MEASURES)
"""What `make bench-quick` measures: less than a minute."""


def main(words: list[str]) -> int:
    """Measure what has one of `words` in its name; everything without any; `--quick`: what takes a minute in all."""
    print(f"{machine()}\n\n{HEAD}", flush=True)
    over = 0
    modules = (cells, graphs, services, files, transfers, saved_state, samples, ranks, detached, cloud, front_ends)
    measures = QUICK if "--quick" in words else [each for module in modules for each in module.MEASURES]
    named = [word for word in words if word != "--quick"]
    for measure in measures:
        if not named or any(word in measure.__name__ for word in named):
            for row in measure():
                print(row, flush=True)
                over += row.verdict == "OVER"
    return over


def machine() -> str:
    """What the figures were measured on: processors, Python, the load of the last minute, and the time."""
    load = os.getloadavg()[0]
    now = datetime.now().astimezone().isoformat(timespec="minutes")
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}, {now}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
