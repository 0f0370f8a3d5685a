"""`python -m tests.soak --minutes 15 [--seed N] [--only staying|leaving]`.

Two users beside one another: one stays (random cells, native and remote, some stopped), one leaves and comes back (a
detached session, kernels that die or stand still, containers that end, background cells). After each act, what was
printed and the values of both sides are compared with a model in this process: a stopped cell has run up to a line, or
not at all. The seed comes first, one line of figures last. The exit status is 1 after a finding, with the acts that led
to it, or if the memory grows by more than MOST_GROWTH. What IPython keeps of each cell is not counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Final

import psutil

from tests.e2e.detached_user import User, pid_of
from tests.e2e.kernel import Kernel
from tests.soak.cells import BEGIN, LOOK
from tests.soak.findings import Unclean
from tests.soak.leaving import Leaving
from tests.soak.staying import Staying

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WARM_ACTS: Final = 300
"""Acts before the memory is measured for the first time: what is loaded when used has been used by then."""
WARM_CELLS: Final = 60
"""Cells of a process after its first measurement that do not count, for the same reason: kernels die, and others follow."""
MEASURE_ACTS: Final = 20
"""Acts between two measurements: the growth is the common slope of the lines through those of each process.

Garbage in cycles is freed rarely: the memory of a server goes up by 2.5 MB in 1,100 cells, and down again at once.
"""
MEASURED_LEAST: Final = 5
"""Fewest measurements of a process that count."""
JUDGED_ACTS: Final = 1500
"""Acts from which the growth is judged: a shorter run has seen too few of these cycles."""
MOST_GROWTH: Final = 1.0
"""Megabytes in a thousand cells, over a kernel without the extension."""
FILLING_CELLS: Final = 1500
"""Cells of a kernel until the memory pools of gRPC and the tables of closed streams have their size."""
JUDGED_CELLS: Final = 3300
"""Cells after these over which the growth of a detached session's processes is measured, after all acts: its kernels
come and go, so that none has run as many cells before. Three times the cells between two collections of a server: over
one of them, only where it begins would be measured."""
CELLS_BETWEEN: Final = 100
"""Cells between two measurements of these."""
PLAIN_CELLS: Final = 1500
"""Cells of the kernel without the extension, before its memory is measured for the first time and after."""
MOST_SHOWN: Final = 14
"""Acts of a reproducer that are shown."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a process.

    Attributes:
        megabytes: memory that only this process has.
        cells: the cells so far of its kernel, or of the kernels of a control plane.
        pid: the process.
        is_kernel: whether the process is a kernel, which keeps each cell's source and output.
    """

    megabytes: float
    cells: int
    pid: int
    is_kernel: bool = True


def sizes(staying: Staying | None, leaving: Leaving | None) -> dict[str, Size]:
    """Return the sizes of the kernels that stay, and of the control planes."""
    found: dict[str, Size] = {}
    if staying is not None:
        kernel = staying.kernel
        found["kernel"] = size_of(pid_of(kernel), kernel.cells)
        for process in kernel.processes():
            if process.cmdline()[1:3] == ["-m", "modal_gpu_magic.control_plane"]:
                found["control plane"] = size_of(process.pid, kernel.cells, is_kernel=False)
    if leaving is not None:
        cells = sum(kernel.cells for kernel in leaving.user.kernels)
        found["kernel of a detached session"] = size_of(pid_of(leaving.home), leaving.home.cells)
        for pid in leaving.user.servers:
            found["lasting control plane"] = size_of(pid, cells, is_kernel=False)
    return found


def sizes_when_full(leaving: Leaving) -> dict[str, list[Size]]:
    """Return the sizes of a detached session's kernel and control plane while printing cells follow one another."""
    leaving.go_home()
    leaving.print_lines(max(0, FILLING_CELLS - leaving.home.cells))
    measured = defaultdict[str, list[Size]](list)
    for _ in range(JUDGED_CELLS // CELLS_BETWEEN):
        leaving.print_lines(CELLS_BETWEEN)
        assert leaving.home.run("import gc\n_ = gc.collect()").ok  # what waits for the collector is no growth
        for what, size in sizes(None, leaving).items():
            measured[what].append(size)
    return measured


def size_of(pid: int, cells: int, *, is_kernel: bool = True) -> Size:
    """Return the size of a process."""
    return Size(megabytes(pid), cells, pid, is_kernel)


def megabytes(pid: int) -> float:
    """Return the memory that only a process has."""
    return float(psutil.Process(pid).memory_full_info().uss / 1e6)


def plain_growth() -> float:
    """Return by how many megabytes a thousand cells enlarge a kernel without the extension."""
    with Kernel() as kernel:
        assert kernel.run(BEGIN).ok
        seen = []
        for _ in range(2):
            for number in range(PLAIN_CELLS):
                assert kernel.run(f"count = {number}\nprint(repr(({LOOK})))").ok
            seen.append(megabytes(pid_of(kernel)))
    return 1000 * (seen[1] - seen[0]) / PLAIN_CELLS


def growth(measured: Mapping[str, Sequence[Size]], plain: float) -> dict[str, float]:
    """Return megabytes in a thousand cells; of a kernel, over one without the extension."""
    grown: dict[str, float] = {}
    for what, seen in measured.items():
        slope = common_slope(warm(sizes) for sizes in by_process(seen))
        if slope is not None:
            grown[what] = 1000 * slope - (plain if seen[0].is_kernel else 0)
    return grown


def by_process(seen: Sequence[Size]) -> list[list[Size]]:
    """Return the sizes of each process, in the order of their measurement."""
    found: dict[int, list[Size]] = {}
    for size in seen:
        found.setdefault(size.pid, []).append(size)
    return list(found.values())


def warm(sizes: Sequence[Size]) -> list[Size]:
    """Return the sizes after WARM_CELLS."""
    return [size for size in sizes if size.cells - sizes[0].cells >= WARM_CELLS]


def common_slope(groups: Iterable[Sequence[Size]]) -> float | None:
    """Return megabytes a cell: the slope of parallel lines through the sizes of several processes; None: no line."""
    above = below = 0.0
    for sizes in groups:
        if len(sizes) < MEASURED_LEAST:
            continue
        cells, megabytes = fmean(size.cells for size in sizes), fmean(size.megabytes for size in sizes)
        above += sum((size.cells - cells) * (size.megabytes - megabytes) for size in sizes)
        below += sum((size.cells - cells) ** 2 for size in sizes)
    return above / below if below else None


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
        acts, measured, finding = 0, defaultdict[str, list[Size]](list), None
        while finding is None and time.monotonic() < until:
            user = users[acts % len(users)]
            try:
                user.step()
            except Unclean as error:
                finding = error
                print("\n\n".join(["The last acts:", *user.acts[-MOST_SHOWN:], f"Finding: {error}"]))
                print(f"Again: python -m tests.soak --minutes {options.minutes} --seed {seed}")
            acts += 1
            if acts >= WARM_ACTS and acts % MEASURE_ACTS == 0:
                for what, size in sizes(staying, leaving).items():
                    measured[what].append(size)
        if leaving is not None and finding is None and acts >= JUDGED_ACTS:
            measured.update(sizes_when_full(leaving))
    grown = growth(measured, plain_growth()) if measured else {}
    print(figures(acts, sum(user.stopped for user in users), finding, grown))
    grows = acts >= JUDGED_ACTS and max(grown.values(), default=0.0) > MOST_GROWTH
    return int(finding is not None or grows)


def figures(acts: int, stopped: int, finding: Unclean | None, grown: Mapping[str, float]) -> str:
    """Return the last line."""
    lost, doubled, wrong = (finding.lost, finding.doubled, finding.wrong) if finding is not None else (0, 0, 0)
    words = "; in 1,000 cells: " + ", ".join(f"{what} {size:+.1f} MB" for what, size in grown.items())
    return (
        f"{acts} acts, {stopped} stopped; {lost} lines lost, {doubled} doubled, {wrong} wrong values or outcomes"
        f"{words if grown else ''}"
    )


if __name__ == "__main__":
    sys.exit(main())
