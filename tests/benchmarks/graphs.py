"""Figures of many small values: a graph of objects with closures, and names that nobody has changed."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle

from modal_gpu_magic.plan.cell.names import Names
from modal_gpu_magic.session.values.sync import TransferOptions, Values
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.graph import groups_of
from modal_gpu_magic.wire.pickles.fingerprints import look
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import prepare, unpack
from tests.benchmarks.table import Row, ratio, seconds

NODES = 60_000
SMALL = 10_000
STACK_BYTES = 512 << 20
"""cloudpickle raises the depth of recursion with Python's own limit, so that the C stack has to bear the graph."""

_GRAPH = """
class Value:
    def __init__(self, data, children=(), op=""):
        self.data, self.grad, self._op = data, 0.0, op
        self._backward, self._prev = lambda: None, set(children)

    def __add__(self, other):
        out = Value(self.data + other.data, (self, other), "+")
        def _backward():
            self.grad += out.grad
            other.grad += out.grad
        out._backward = _backward
        return out

def graphs(nodes):
    made = []
    for _ in range(nodes // 50):
        value = Value(1.5)
        for _ in range(48):
            value = value + Value(0.5) if len(made) % 2 else value + value
        made.append(value)
    return made
"""


def graph_of_nodes() -> Iterator[Row]:
    """A graph of 60,000 nodes with closures, read, packed and made anew, beside cloudpickle's way there."""
    yield _with_a_large_stack(_graph_row)


def _graph_row() -> Row:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(_GRAPH, namespace)
    value = namespace["graphs"](NODES)

    def ours() -> None:
        hasher, store = Hasher(), InlineStore()
        if look((value,), namespace, hasher) is None:
            raise AssertionError("the graph cannot be pickled")
        packed = prepare({"v": value}, namespace, store, hasher, table=IdentityTable(side=0))
        unpack(packed.transfer, {"__name__": "__main__"}, store, Hasher(), table=IdentityTable(side=1), bind=True)

    def plain() -> None:
        cloudpickle.loads(cloudpickle.dumps(value, protocol=5))

    return ratio(f"{NODES:,} nodes with closures", _best(ours), ("cloudpickle", _best(plain)), 2.0, 1.2)


def small_objects() -> Iterator[Row]:
    """Which of some names share objects, searched over 10,000 small objects."""
    objects = [[number, str(number)] for number in range(SMALL)]
    yield seconds(f"search of {SMALL:,} objects", _best(lambda: groups_of({"v": objects}, {})), 0.020, 0.010)


def unchanged_names() -> Iterator[Row]:
    """What a cell costs in the kernel that reads 100 names which nobody has changed."""
    import numpy as np

    shapes: tuple[Callable[[int], Any], ...] = (lambda i: [i, "x" * i, {"a": i}], lambda i: i, str, np.arange)
    namespace = {f"v{number}": shapes[number % 4](number) for number in range(100)}
    values, names = Values("s", namespace, {}), Names(reads=frozenset(namespace))
    outgoing = values.outgoing(names, TransferOptions())
    packed = prepare(outgoing.values, namespace, InlineStore(), outgoing.hasher, session="s", table=values.table)
    values.sent(outgoing, packed)
    if values.outgoing(names, TransferOptions()).values:
        raise AssertionError("a name looks changed")
    yield seconds("100 unchanged names", _best(lambda: values.outgoing(names, TransferOptions()), 30), 0.005, 0.002)


def _best(run: Callable[[], object], times: int = 3) -> float:
    """Seconds of processor time, the best of some runs."""
    found = []
    for _ in range(times):
        gc.collect()
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found)


def _with_a_large_stack(measure: Callable[[], Row]) -> Row:

    rows: list[Row] = []
    limit, size = sys.getrecursionlimit(), threading.stack_size(STACK_BYTES)
    sys.setrecursionlimit(100_000)
    thread = threading.Thread(target=lambda: rows.append(measure()))
    try:
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    return rows[0]


MEASURES: tuple[Callable[[], Iterator[Row]], ...] = (graph_of_nodes, small_objects, unchanged_names)
"""What `make bench` runs from here."""
