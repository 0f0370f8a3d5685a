"""Random cells, native and remote, some stopped at random: `python -m tests.soak --minutes 15 [--seed N]`.

After each cell, what it printed and the values of both sides are compared with a model in this process: a stopped cell
has run up to a line, or not at all. The seed comes first, one figure last. The exit status is 1 after a fault, with the
cells that led to it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import pickle
import random
import re
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import cloudpickle
import psutil

from tests.e2e.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.kernel import Result

Outcome = tuple[str, str, bytes]
"""What was printed, what is seen then, and the namespace."""

HEADER: Final = "T4"
BEGIN: Final = """
import time
import numpy as np
class Box:
    def __init__(self, items): self.items, self.n = items, 0
    def add(self, value): self.items.append(value); self.n += 1
items, table, count = [1, 2], {}, 0
pair, box, big = [items, items], Box(items), np.zeros(200_000)
def closed():
    held = []
    return lambda value: held.append(value) or len(held)
keep = closed()
"""
SEEN: Final = (
    "items[-6:], len(items), pair[0] is pair[1] is items is box.items, len(table), sorted(table)[-3:], count, box.n, "
    "big.size, float(big[0]), float(big.sum()), keep(0), sorted(n for n in ('made', 'fresh', 'word') if n in globals())"
)
"""What both sides must agree on. `keep(0)` changes what it looks at, so it runs once on either side."""
STATEMENTS: Final = (
    "items.append({n})",
    "items[{n} % len(items)] = {n}",
    "items.insert(0, 'é{n}')",
    "del items[:max(0, len(items) - 40)]",
    "table[{n}] = items",
    "table.pop(next(iter(table), None), None)",
    "table = dict(table)",
    "count += {n}",
    "count = len(items)",
    "pair[1].append({n})",
    "pair = [items, items]",
    "box.add({n})",
    "box = Box(items)",
    "big[{n} % big.size] += {n}",
    "big = big + 1",
    "big = np.full(big.size % 400_000 + 1000, {n}.0)",
    "big *= 2",
    "keep({n})",
    "made = [{n}] * 3",
    "fresh = {{'items': items, 'made': {n}}}",
    "fresh = word = None",
    "globals().pop('made', None)",
    "globals().pop('fresh', None)",
    "word = 'wörd' * ({n} % 5)",
    "time.sleep(0.0{n})",
    "for _i in range({n}): count += _i",
)
STOPPED_SHARE: Final = 0.15
LATEST_PRESS_SECONDS: Final = 0.15
WARM_CELLS: Final = 60
"""Cells before the memory is measured for the first time."""
MOST_SHOWN: Final = 14
"""Cells of a reproducer that are shown."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its statements, where it runs, and when ■ is pressed (seconds; None: not)."""

    lines: tuple[str, ...]
    remote: bool
    press: float | None = None

    @property
    def source(self) -> str:
        """The text: each statement prints its number, so that output is compared as well."""
        return "\n".join(f"{line}\nprint({number})" for number, line in enumerate(self.lines))

    def __str__(self) -> str:
        """For a reproducer."""
        where = "remote" if self.remote else "native"
        return f"# {where}{'' if self.press is None else f', stopped after {self.press:.3f} s'}\n{self.source}"


class Model:
    """The namespace in this process, as a pickle: what a cell would do is tried in a copy. `time.sleep` is left out."""

    def __init__(self) -> None:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(BEGIN, namespace)
        self.kept = _pickled(namespace)

    def after(self, source: str = "") -> tuple[str, str, bytes]:
        """Return what a further source prints, what is seen then, and the namespace after that look."""
        namespace: dict[str, Any] = pickle.loads(self.kept)
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(source.replace("time.sleep", "id"), namespace)
        seen = repr(eval(f"({SEEN})", namespace))
        return shown.getvalue(), seen, _pickled(namespace)


def _pickled(namespace: dict[str, Any]) -> bytes:
    del namespace["__builtins__"]
    data: bytes = cloudpickle.dumps(namespace)
    return data


@dataclass(slots=True)
class Soak:
    """One run of the soak test."""

    kernel: Kernel
    choose: random.Random
    model: Model = field(default_factory=Model)
    cells: list[Cell] = field(default_factory=list)
    stopped: int = 0

    def begin(self) -> None:
        """Load the extension and bind the first values."""
        self.kernel.load()
        assert self.kernel.run(BEGIN).ok

    def step(self) -> str | None:
        """Run one random cell and compare. Returns the fault, if any."""
        cell = self.cell()
        self.cells.append(cell)
        run = self.kernel.remote if cell.remote else self.kernel.run
        result = run(cell.source, *((HEADER,) if cell.remote else ()), timeout=120, press=_press(cell))
        legal = list(self.legal(cell))
        if result.ok:
            legal = legal[-1:]
            if result.stdout != legal[0][0]:
                return f"printed {result.stdout!r} instead of {legal[0][0]!r}"
        elif cell.press is None:
            return f"failed: {result.error}\n{result.traceback}"
        else:
            self.stopped += 1
            if "did not run" in result.error:
                legal = legal[:1]
        return self.compare(legal, result.error)

    def compare(self, legal: list[Outcome], error: str) -> str | None:
        """Compare both sides with the outcomes that are legal, and remember the one that was."""
        sides: list[Callable[..., Result]] = [partial(self.kernel.remote, header=HEADER), self.kernel.run]
        self.choose.shuffle(sides)
        seen = [side(f"print(repr(({SEEN})))", timeout=120) for side in sides]
        for each in seen:
            if not each.ok:
                return f"the values cannot be read: {each.error}\n{each.traceback}"
        one, other = (each.stdout.strip() for each in seen)
        fitting = [namespace for _, values, namespace in legal if values == one]
        if not fitting:
            return "\n".join((f"{error or 'no error'}; seen:", one, "legal:", *(values for _, values, _ in legal)))
        self.model.kept = fitting[0]
        _, expected, self.model.kept = self.model.after()
        if other != expected:
            return f"the sides differ:\n{one}\n{other} instead of\n{expected}"
        return None

    def cell(self) -> Cell:
        """Choose a cell."""
        choose = self.choose
        lines = tuple(
            choose.choice(STATEMENTS).format(n=choose.randrange(1, 10)) for _ in range(choose.randrange(1, 6))
        )
        remote = choose.random() < 0.7
        stopped = remote and choose.random() < STOPPED_SHARE
        return Cell(lines, remote, choose.uniform(0, LATEST_PRESS_SECONDS) if stopped else None)

    def legal(self, cell: Cell) -> Iterator[Outcome]:
        """Yield the outcome of each number of statements, none first."""
        for number in range(len(cell.lines) + 1):
            part = Cell(cell.lines[:number], cell.remote).source
            yield self.model.after(part)


def _press(cell: Cell) -> tuple[float, ...]:
    return () if cell.press is None else (cell.press,)


def memory(kernel: Kernel) -> dict[str, float]:
    """Megabytes that only the kernel and only the control plane have."""
    found: dict[str, float] = {}
    kinds: dict[str, Callable[[str], bool]] = {
        "kernel": lambda line: "ipykernel_launcher" in line,
        "control plane": lambda line: line.endswith("modal_gpu_magic.control_plane"),
    }
    for process in kernel.processes():
        line = " ".join(process.cmdline())
        for kind, fits in kinds.items():
            if fits(line) or (kind == "kernel" and re.search(r"ipykernel_launcher -f", line)):
                with contextlib.suppress(psutil.Error):
                    found[kind] = process.memory_full_info().uss / 1e6
    return found


def main() -> int:
    """Run the soak test; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    until = time.monotonic() + 60 * options.minutes
    with Kernel() as kernel:
        soak = Soak(kernel, random.Random(seed))
        soak.begin()
        before: dict[str, float] = {}
        fault = None
        while fault is None and time.monotonic() < until:
            fault = soak.step()
            if len(soak.cells) == WARM_CELLS:
                before = memory(kernel)
        if fault is not None:
            print("\n\n".join(["The last cells:", *map(str, soak.cells[-MOST_SHOWN:]), f"Fault: {fault}"]))
            print(f"Again: python -m tests.soak --minutes {options.minutes} --seed {seed}")
        grown = {kind: now - before[kind] for kind, now in memory(kernel).items() if kind in before}
    growth = ", ".join(f"{kind} {1000 * size / (len(soak.cells) - WARM_CELLS):+.1f} MB" for kind, size in grown.items())
    growth = f"; in 1,000 cells: {growth}" if len(soak.cells) > WARM_CELLS else ""
    print(f"{len(soak.cells)} cells, {soak.stopped} stopped, {int(fault is not None)} faults{growth}")
    return int(fault is not None)


if __name__ == "__main__":
    sys.exit(main())
