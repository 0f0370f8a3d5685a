"""Random cells, and the model of what they do: a namespace in this process."""

from __future__ import annotations

import contextlib
import io
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

Outcome = tuple[str, str, bytes]
"""What was printed, what is seen then, and the namespace."""

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
SEEN: Final[dict[str, str]] = {
    "items": "items[-6:], len(items)",
    "pair": "pair[0] is pair[1] is items is box.items",
    "table": "len(table), sorted(table)[-3:]",
    "count": "count",
    "box": "box.n, type(box) is Box",
    "big": "big.size, float(big[0]), float(big.sum())",
    "keep": "keep(0)",
    "made": "sorted(n for n in ('made', 'fresh', 'word') if n in globals())",
}
"""What both sides must agree on, by the name it is about. `keep(0)` changes what it looks at, so it runs once a look."""
LOOK: Final = ", ".join(SEEN.values())
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


def statements(choose: random.Random, most: int) -> tuple[str, ...]:
    """Choose the statements of a cell."""
    return tuple(
        choose.choice(STATEMENTS).format(n=choose.randrange(1, 10)) for _ in range(choose.randrange(1, most + 1))
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its statements, where it runs, and when ■ is pressed (seconds; None: not).

    Attributes:
        lines: its statements.
        remote: whether it runs in the container.
        press: when ■ is pressed, seconds after the cell was sent; None: not.
        number: makes what the cell prints unlike what any other prints; None: each statement prints its place alone.
        pause: seconds that the cell sleeps after each statement.
    """

    lines: tuple[str, ...]
    remote: bool
    press: float | None = None
    number: int | None = None
    pause: float = 0.0

    @property
    def source(self) -> str:
        """The text: each statement prints its number, so that output is compared as well."""
        after = f"\ntime.sleep({self.pause})" if self.pause else ""
        return "\n".join(f"{line}\nprint({self.says(place)!r}){after}" for place, line in enumerate(self.lines))

    def says(self, place: int) -> str:
        """What is printed after a statement."""
        return f"{place}" if self.number is None else f"line {place} of cell {self.number}"

    def part(self, number: int) -> Cell:
        """The cell up to a statement."""
        return Cell(self.lines[:number], self.remote, self.press, self.number, self.pause)

    def __str__(self) -> str:
        """For a reproducer."""
        where = "remote" if self.remote else "native"
        return f"# {where}{'' if self.press is None else f', stopped after {self.press:.3f} s'}\n{self.source}"


class Model:
    """The namespace in this process, as a pickle: what a cell would do is tried in a copy. `time.sleep` is left out."""

    def __init__(self, kept: bytes = b"") -> None:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        if not kept:
            exec(BEGIN, namespace)
        self.kept = kept or _pickled(namespace)

    def after(self, source: str = "") -> Outcome:
        """Return what a further source prints, what is seen then, and the namespace after that look."""
        namespace: dict[str, Any] = pickle.loads(self.kept)
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(source.replace("time.sleep", "id"), namespace)
        seen = repr(eval(f"({LOOK})", namespace))
        return shown.getvalue(), seen, _pickled(namespace)

    def legal(self, cell: Cell) -> Iterator[Outcome]:
        """Yield the outcome of each number of a cell's statements, none first."""
        for number in range(len(cell.lines) + 1):
            yield self.after(cell.part(number).source)

    def saw(self, name: str) -> tuple[str, ...]:
        """Return what is seen of one name now, or was before the last look. The model stays as it is."""
        now = repr(eval(f"({SEEN[name]},)", pickle.loads(self.kept)))
        return (now, f"({int(now[1:-2]) - 1},)") if name == "keep" else (now,)


def _pickled(namespace: dict[str, Any]) -> bytes:
    del namespace["__builtins__"]
    data: bytes = cloudpickle.dumps(namespace)
    return data
