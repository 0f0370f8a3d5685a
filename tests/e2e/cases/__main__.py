"""Run the table: `python -m tests.e2e.cases [-k PATTERN] [--verbose] [--native]`. One line a case, and a count a kind."""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.e2e.cases.table import GROUPS, cases
from tests.e2e.cases.twins import Twins

if TYPE_CHECKING:
    from tests.e2e.cases.case import Case


def main() -> int:
    """Run what is asked for. Returns 1 if a case differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", metavar="PATTERN", help="only cases whose kind/id matches")
    parser.add_argument("--verbose", action="store_true", help="every cell that differs, in full")
    parser.add_argument("--native", action="store_true", help="a second bare kernel instead of one with the magic")
    asked = parser.parse_args()
    good: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for group in map(cases, GROUPS):
        with Twins(magic=not asked.native) as twins:
            for kind, case in group:
                if re.search(asked.k, f"{kind}/{case.id}"):
                    total[kind] += 1
                    good[kind] += run(twins, kind, case, verbose=asked.verbose)
    for kind, count in total.items():
        print(f"{kind:12} {good[kind]:4} of {count}")
    print(f"{'all':12} {good.total():4} of {total.total()}")
    return int(good != total)


def run(twins: Twins, kind: str, case: Case, *, verbose: bool) -> bool:
    """Run one case and print its line. Returns whether both sides agree."""
    start = time.monotonic()
    try:
        found = [str(difference) for difference in twins.play(case)]
    except (AssertionError, TimeoutError, RuntimeError) as error:
        found = [f"the case itself: {type(error).__name__}: {error}"]
    lines = found if verbose else [text if len(text) <= 400 else f"{text[:400]}…" for text in found[:1]]
    print(
        f"{time.monotonic() - start:5.2f} s  {kind}/{case.id}:",
        *(lines or ["ok"]),
        sep="\n    " if lines else " ",
        flush=True,
    )
    return not found


if __name__ == "__main__":
    raise SystemExit(main())
