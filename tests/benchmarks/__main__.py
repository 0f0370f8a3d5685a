"""`make bench`: every figure, printed as it is measured. Run it on a machine that does nothing else."""

from __future__ import annotations

import sys

from tests.benchmarks import cells, files, front_ends, ranks, samples, services, transfers
from tests.benchmarks.table import HEAD


def main(words: list[str]) -> int:
    """Measure what has one of `words` in its name; everything without any."""
    print(HEAD, flush=True)
    over = 0
    measures = (cells, services, files, transfers, samples, ranks, front_ends)
    for measure in (each for module in measures for each in module.MEASURES):
        if not words or any(word in measure.__name__ for word in words):
            for row in measure():
                print(row, flush=True)
                over += row.verdict == "OVER"
    return over


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
