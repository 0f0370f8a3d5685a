"""Kinds of values of which it is easy to say wrongly how much a transfer of them takes."""

from __future__ import annotations

import collections
import functools
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse  # type: ignore[import-untyped]  # mypy does not follow scipy
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

BIG: Any = np.arange(1_000_000.0)
WEIGHTS = torch.arange(500_000.0)
ROW = [1, 2, 3]
DEEP: Any = [BIG]
LONG = "a long text, which is in many places " * 10


@dataclass(slots=True)
class Slotted:
    """An instance without a dict."""

    x: Any
    y: int = 0


class Plain:
    """An instance with a dict."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)

    def method(self) -> Any:
        """A bound method carries its object."""
        return self.__dict__


def frame(rows: int = 5_000) -> pd.DataFrame:
    """A frame with a column of each kind."""
    return pd.DataFrame(
        {
            "number": np.arange(rows),
            "text": [f"text {number}" for number in range(rows)],
            "few": [["yes", "no"][number % 2] for number in range(rows)],
            "when": pd.date_range("2024", periods=rows),
        }
    )


def closure() -> Any:
    """A function that holds an array."""
    array = BIG.copy()

    def function() -> Any:
        return array

    return function


def optimizer() -> Any:
    """A model and its optimizer, after a step."""
    model = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))
    adam = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 300)).sum().backward()
    adam.step()
    return model, adam


FRAME: Any = frame()
OBJECT = Plain(array=BIG)

KINDS: dict[str, Callable[[], Any]] = {
    "many references to one array": lambda: [BIG] * 5_000,
    "rows that refer to one array": lambda: [(BIG, number) for number in range(5_000)],
    "dicts that share": lambda: {number: {"base": BIG, "row": ROW} for number in range(3_000)},
    "deep and shared": lambda: functools.reduce(lambda inner, _: [inner, inner, ROW], range(60), DEEP),
    "lists of small lists": lambda: [[[n, n] for n in range(10)] for _ in range(2_000)],
    "one small list many times": lambda: [ROW] * 50_000,
    "one text many times": lambda: [LONG] * 5_000,
    "equal texts": lambda: [LONG.replace("places", "places", 1) for _ in range(1_000)],
    "short texts": lambda: [str(number) for number in range(20_000)],
    "texts in other scripts": lambda: ["\u00fc\u4e2d" * 50 + str(n) for n in range(1_000)],
    "numbers": lambda: list(range(50_000)),
    "large numbers": lambda: [10**30 + n for n in range(10_000)],
    "floats": lambda: [n / 3 for n in range(20_000)],
    "tuples": lambda: [(n, n + 0.5) for n in range(20_000)],
    "sets of tuples": lambda: {(n, str(n)) for n in range(10_000)},
    "frozen sets": lambda: [frozenset({n, n + 1}) for n in range(5_000)],
    "texts to numbers": lambda: {f"key {n}": n for n in range(20_000)},
    "default dict": lambda: collections.defaultdict(list, {n: [n] * 5 for n in range(5_000)}),
    "counter": lambda: collections.Counter(f"w{n % 3_000}" for n in range(9_000)),
    "deque": lambda: collections.deque(range(40_000)),
    "bytes": lambda: [bytes(300)] * 10 + [bytes([n % 256]) * 300 for n in range(2_000)],
    "array": lambda: BIG,
    "views of one array": lambda: [BIG.view(), BIG.view(), BIG],
    "small slices": lambda: [BIG[n : n + 5] for n in range(2_000)],
    "every other": lambda: BIG[::2],
    "broadcast": lambda: [np.broadcast_to(BIG[:1], (10**9,))],
    "object array": lambda: np.array([{"n": n} for n in range(10_000)], dtype=object),
    "object array that repeats": lambda: np.array([LONG, ROW] * 10_000, dtype=object),
    "text array": lambda: np.array([f"text {n}" for n in range(10_000)]),
    "structured": lambda: np.zeros(20_000, dtype=[("a", "i4"), ("b", "f8"), ("c", "U5")]),
    "masked": lambda: np.ma.masked_array(np.arange(100_000), mask=np.arange(100_000) % 2 == 0),
    "dates": lambda: np.arange("1980", "2020", dtype="M8[D]"),
    "frame": frame,
    "dict of frames": lambda: {f"part {n}": frame(1_000) for n in range(10)},
    "one frame many times": lambda: dict.fromkeys(range(1000), FRAME),
    "categories": lambda: pd.DataFrame({"c": pd.Categorical(["yes", "no"] * 50_000)}),
    "objects in a frame": lambda: pd.DataFrame({"o": [[n, n] for n in range(10_000)]}),
    "one object in a frame": lambda: pd.Series([ROW] * 30_000),
    "several levels": lambda: pd.DataFrame({"x": 1.0}, index=pd.MultiIndex.from_product([range(300), list("abcdef")])),
    "a part of a frame": lambda: FRAME.iloc[::5],
    "sparse matrix": lambda: scipy.sparse.random(2_000, 2_000, 0.01, format="csr", random_state=0),
    "sparse matrices": lambda: [scipy.sparse.identity(5_000, format=kind) for kind in ("csr", "coo", "csc")],
    "slots": lambda: [Slotted(n) for n in range(10_000)],
    "slots that share": lambda: [Slotted(BIG, n) for n in range(10_000)],
    "attributes": lambda: [Plain(a=n, b=[n], c=LONG) for n in range(5_000)],
    "names": lambda: types.SimpleNamespace(model=WEIGHTS, again=[WEIGHTS], part=WEIGHTS[:100]),
    "a closure": closure,
    "a function with defaults": lambda: functools.partial(np.add, BIG),
    "a bound method": lambda: Plain(array=BIG).method,
    "bound methods of one object": lambda: [OBJECT.method] * 100,
    "tensors of one storage": lambda: list(WEIGHTS.split(1_000)),
    "a transposed tensor": lambda: [WEIGHTS.view(500, 1_000).T],
    "a sparse tensor": lambda: torch.eye(3_000).to_sparse(),
    "a half tensor": lambda: [WEIGHTS.half(), WEIGHTS.bfloat16()],
    "model and optimizer": optimizer,
    "state dict": lambda: dict(optimizer()[0].state_dict()),
    "many small tensors": lambda: [torch.full((3,), float(n)) for n in range(2_000)],
    "many small arrays": lambda: [np.full(3, n) for n in range(2_000)],
    "a batch loader": lambda: torch.utils.data.DataLoader(torch.utils.data.TensorDataset(WEIGHTS, WEIGHTS + 1), 32),
    "meta": lambda: [nn.Linear(10_000, 10_000, device="meta"), BIG[:50_000]],
}
"""By name, what makes a value."""


NODES = """
from dataclasses import dataclass
class Node:
    def __init__(self, n): self.n, self.next, self.tags = n, [], {"n": n}
    def visit(self): return self.n
@dataclass(slots=True)
class Slim:
    n: int
    parent: object
nodes = [Node(n) for n in range(60_000)]
for n, node in enumerate(nodes): node.next.append(nodes[n // 2])
def make(n):
    def step(x): return x + n
    return step
closures = [make(n) for n in range(1_000)]
root = Slim(0, None)
slotted = [Slim(n, root) for n in range(60_000)]
methods = [node.visit for node in nodes[:20_000]]
def grow(depth): return {"left": grow(depth - 1), "right": grow(depth - 1), "d": depth} if depth else {"leaf": [1, 2]}
tree = grow(15)
"""
