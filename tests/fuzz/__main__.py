"""`python -m tests.fuzz --minutes 10 [--seed N] [--only line|nvidia-smi|events|transfers|rpc]`.

Prints the seed first, each fault with the command that repeats its case, and last the number of cases and faults. The
exit status is 1 if there were faults.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from tests.fuzz import events, line, nvidia_smi, rpc, transfers
from tests.fuzz.target import Target

TARGETS: Final[Mapping[str, Target]] = {
    "line": line.target,
    "nvidia-smi": nvidia_smi.target,
    "events": events.target,
    "transfers": transfers.target,
    "rpc": rpc.target,
}

MOST_FAULTS: Final = 5
"""Faults of one target after which the next target begins."""


def main(words: Sequence[str]) -> int:
    """Run the targets one after the other, each for its part of the time; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together (10)")
    parser.add_argument("--seed", type=int, default=None, help="of all cases; printed (random)")
    parser.add_argument("--only", choices=TARGETS, default=None, help="one target")
    parser.add_argument("--case", type=int, default=None, help="one case of the target")
    options = parser.parse_args(words)
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    names = [options.only] if options.only else list(TARGETS)
    cases = faults = 0
    for name in names:
        ran, found = run(name, seed, 60 * options.minutes / len(names), options.case)
        print(f"{name}: {ran:,} cases, {found} faults", flush=True)
        cases, faults = cases + ran, faults + found
    print(f"{cases:,} cases, {faults} faults")
    return int(faults > 0)


def run(name: str, seed: int, seconds: float, only: int | None) -> tuple[int, int]:
    """Run cases of one target for a time, or one case; return the numbers of cases and faults."""
    end, number, faults = time.monotonic() + seconds, only or 0, 0
    with TARGETS[name]() as case:
        while faults < MOST_FAULTS:
            fault = case(random.Random(f"{seed} {name} {number}"))
            if fault is not None:
                faults += 1
                print(f"FAULT {fault}\n  python -m tests.fuzz --only {name} --seed {seed} --case {number}", flush=True)
            number += 1
            if only is not None or time.monotonic() > end:
                break
    return number - (only or 0), faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
