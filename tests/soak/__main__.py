"""`python -m tests.soak --minutes 15 [--seed N] [--only staying|leaving]`.

Two users beside one another: one stays (random cells, native and remote, some stopped), one leaves and comes back (a
detached session, kernels that die or stand still, containers that end, background cells). After each act, what was
printed and the values of both sides are compared with a model in this process: a stopped cell has run up to a line, or
not at all. The seed comes first, one line of figures last. The exit status is 1 after a finding, with the acts that led
to it, or if the memory grows by more than MOST_GROWTH.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import psutil

from tests.e2e.detached_user import User, pid_of
from tests.e2e.kernel import Kernel
from tests.soak.findings import Unclean
from tests.soak.leaving import Leaving
from tests.soak.staying import Staying

if TYPE_CHECKING:
    from collections.abc import Mapping

WARM_ACTS: Final = 60
"""Acts before the memory is measured for the first time."""
JUDGED_ACTS: Final = 500
"""Acts from which the growth is judged: memory comes in steps, and a short run has seen too few."""
MOST_GROWTH: Final = 1.0
"""Megabytes in a thousand acts."""
MOST_SHOWN: Final = 14
"""Acts of a reproducer that are shown."""


def memory(staying: Staying | None, leaving: Leaving | None) -> dict[str, float]:
    """Megabytes that only the kernels that stay, and only the control planes, have."""
    found: dict[str, int] = {}
    if staying is not None:
        found["kernel"] = pid_of(staying.kernel)
        for process in staying.kernel.processes():
            if process.cmdline()[1:3] == ["-m", "modal_gpu_magic.control_plane"]:
                found["control plane"] = process.pid
    if leaving is not None:
        found["kernel of a detached session"] = pid_of(leaving.home)
        (found["lasting control plane"],) = leaving.user.servers
    sizes: dict[str, float] = {}
    for what, pid in found.items():
        with contextlib.suppress(psutil.Error):
            sizes[what] = psutil.Process(pid).memory_full_info().uss / 1e6
    return sizes


def main() -> int:
    """Run the soak test; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", choices=("staying", "leaving"), default=None, help="one of the two users")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    until = time.monotonic() + 60 * options.minutes
    with ExitStack() as stack:
        staying = leaving = None
        if options.only != "leaving":
            staying = Staying(stack.enter_context(Kernel()), random.Random(f"{seed} stays"))
        if options.only != "staying":
            leaving = Leaving(stack.enter_context(User()), random.Random(f"{seed} leaves"))
        users = [user for user in (staying, leaving) if user is not None]
        for user in users:
            user.begin()
        acts, before, finding = 0, dict[str, float](), None
        while finding is None and time.monotonic() < until:
            user = users[acts % len(users)]
            try:
                user.step()
            except Unclean as error:
                finding = error
                print("\n\n".join(["The last acts:", *user.acts[-MOST_SHOWN:], f"Finding: {error}"]))
                print(f"Again: python -m tests.soak --minutes {options.minutes} --seed {seed}")
            acts += 1
            if acts == WARM_ACTS:
                before = memory(staying, leaving)
        after = memory(staying, leaving)
    counted = acts - WARM_ACTS
    growth = {what: 1000 * (size - before[what]) / max(1, counted) for what, size in after.items() if what in before}
    print(figures(acts, sum(user.stopped for user in users), finding, growth if counted > 0 else {}))
    grows = counted >= JUDGED_ACTS and max(growth.values(), default=0.0) > MOST_GROWTH
    return int(finding is not None or grows)


def figures(acts: int, stopped: int, finding: Unclean | None, growth: Mapping[str, float]) -> str:
    """Return the last line."""
    lost, doubled, wrong = (finding.lost, finding.doubled, finding.wrong) if finding is not None else (0, 0, 0)
    grown = "; in 1,000 acts: " + ", ".join(f"{what} {size:+.1f} MB" for what, size in growth.items())
    return (
        f"{acts} acts, {stopped} stopped; {lost} lines lost, {doubled} doubled, {wrong} wrong values or outcomes"
        f"{grown if growth else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
