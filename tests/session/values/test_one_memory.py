"""Random notebooks of native and remote cells have, after each cell, what the same cells have in one process."""

from __future__ import annotations

import random
import types
from typing import Any, Final

import numpy as np
import pytest
import torch

from tests.session.same_graph import compare
from tests.session.two_memories import TwoMemories

SETUP: Final = """
import numpy as np, torch
class Node:
    def method(self): return self
    def push(self, x): self.__dict__.setdefault("kept", []).append(x)
class Other(Node):
    pass
class Slots:
    __slots__ = ("left", "right")
class Items(list):
    pass
def account(start):
    total = [start]
    count = 0
    def put(x):
        nonlocal count
        count += 1
        total.append(x)
    def get(): return total, count
    return put, get
MISSING = object()
def default(x=MISSING): return x is MISSING
a = b = c = d = e = f = None
"""

NAMES: Final = "abcdef"
STEPS: Final = 100
MOST_STAY: Final = 1500
"""Bytes that may come home from a cell, at most, where some values are to stay."""


def cell(choose: random.Random, model: dict[str, Any]) -> str:
    """One statement that runs without error on the values as they are, now and then one that fails after it."""
    x, y, z = (choose.choice(NAMES) for _ in range(3))
    options = [
        *(f"{x} = {y}", f"{x} = []", f"{x} = {{}}", f"{x} = Node()", f"{x} = Slots()", f"{x} = ({y}, {z})"),
        *(f"{x} = [{y}, {z}]", f"{x} = Items([{y}])", f"{x} = {choose.randrange(5)}", f"{x}, {y} = account({z})"),
        *(f"{x} = np.zeros(4)", f"{x} = torch.zeros(4)", f"{x} = lambda v={y}: v", f"{x} = MISSING"),
        *("pass", f"if False: {x} = 1", f"for {x} in []: pass"),
    ]
    value, plain = model[x], choose.randrange(100)
    match value:
        case list():
            options += 3 * [f"{x}.append({y})", f"{x}[:] = [{y}, {plain}]", f"{x}.clear()", f"{x} += [{plain}]"]
            options += [f"{y} = {x}[0]"] if value else []
        case dict():
            options += 3 * [f"{x}['k'] = {y}", f"{x}['l'] = {plain}", f"{x}.pop('k', None)"]
            options += [f"{y} = {x}['k']"] if "k" in value else []
        case np.ndarray():
            options += 3 * [f"{x}[0] = {plain}", f"{x} *= 2", f"{x}[-1] += 1"]
            options += [f"{y} = {x}[1:]"] if len(value) > 1 else []
        case torch.Tensor():
            options += 3 * [f"{x}[0] = {plain}", f"{x}.mul_(2)", f"{x}.requires_grad_(False)"]
            options += [f"{y} = {x}[1:]"] if len(value) > 1 else []
        case types.FunctionType():
            options += 3 * ([f"{x}({plain})"] if value.__name__ == "put" else [f"{y} = {x}()"])
        case types.MethodType():
            options += 3 * [f"{y} = {x}()", f"{x}().attr = {plain}"]
        case tuple():
            options += [f"{y} = {x}[0]", f"{y} = {x}[1]"]
        case _ if type(value).__name__ in ("Node", "Other"):
            options += [f"{x}.__class__ = {choose.choice(['Node', 'Other'])}"]
            options += 3 * [f"{x}.attr = {y}", f"{x}.other = {plain}", f"{x}.push({y})", f"{y} = {x}.method"]
            options += [f"{y} = {x}.attr", f"del {x}.attr"] if hasattr(value, "attr") else []
        case _ if type(value).__name__ == "Slots":
            options += 3 * [f"{x}.left = {y}", f"{x}.right = {plain}"]
            options += [f"{y} = {x}.left", f"del {x}.left"] if hasattr(value, "left") else []
    source = choose.choice(options)
    return source + choose.choice(["", "", "", "", "\n1 / 0"])


def play(seed: int, fetch_bytes: int) -> None:
    choose = random.Random(seed)
    notebook = TwoMemories(fetch_bytes)
    notebook.native(SETUP)
    history = [SETUP]
    for _ in range(STEPS):
        source = cell(choose, notebook.model)
        where = choose.choice(["native", "remote", "remote"])
        history.append(f"{where}: {source}")
        try:
            some_stay = fetch_bytes <= MOST_STAY
            if where == "native" and some_stay:
                notebook.fetch_all()
            getattr(notebook, where)(source)
            if choose.random() < 0.3 and some_stay:
                notebook.fetch_all()
            if not some_stay or not choose.randrange(4):
                notebook.fetch_all()
                compare(notebook.model, notebook.here, notebook.user_names())
        except Exception as error:
            error.add_note("\n".join(history)) if hasattr(error, "add_note") else None
            raise


@pytest.mark.parametrize("seed", range(50))
def test_a_random_notebook_has_one_memory(seed: int) -> None:
    play(seed, 1 << 30)


@pytest.mark.parametrize("fetch_bytes", [300, 700, MOST_STAY])
@pytest.mark.parametrize("seed", range(1000, 1020))
def test_also_where_values_stay(seed: int, fetch_bytes: int) -> None:
    play(seed, fetch_bytes)
