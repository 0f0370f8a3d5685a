"""Random notebooks that make arrays, tensors and parts of them, and change any of these, on either side."""

from __future__ import annotations

import random
from typing import Any, Final

import numpy as np
import pytest
import torch

from tests.session.two_memories import TwoMemories

NAMES: Final = "abcdef"
STEPS: Final = 50
MADE: Final = (
    *("np.arange(12.).reshape(3, 4)", "np.zeros(6, 'f4')", "np.arange(24).reshape(2, 3, 4)", "np.arange(20_000.)"),
    *("torch.arange(12.).reshape(3, 4)", "torch.zeros(4)", "torch.zeros(20_000)"),
)


def cell(choose: random.Random, model: dict[str, Any]) -> str:
    """One statement that runs without error on the values as they are."""
    x, y, z = (choose.choice(NAMES) for _ in range(3))
    number, value = choose.randrange(50), model[x]
    options = [f"{x} = {choose.choice(MADE)}", f"{x} = {y}", f"{x} = ({y}, {z})", "pass"]
    match value:
        case np.ndarray():
            options += [f"{x}[0] += {number}", f"{x}[-1] = {number}", f"{x} *= 2", f"{y} = {x}[1:]", f"{y} = {x}[::2]"]
            options += [f"{y} = {x}[::-1]", f"{y} = {x}.T", f"{y} = {x}.copy()"]
            options += [f"{y} = {x}.reshape(-1)"] if value.flags.c_contiguous else []
            options += [f"{y} = {x}[:, 1:]", f"{y} = {x}[0]", f"{x}[0, 1] = {number}"] if value.ndim > 1 else []
            options += [f"{y} = torch.from_numpy({x})"] if value.flags.c_contiguous else []
        case torch.Tensor():
            options += [f"{x}.add_({number})", f"{x}[0] = {number}", f"{y} = {x}.numpy()", f"{y} = {x}[1:].numpy()"]
            options += [f"{y} = {x}[1:]", f"{y} = {x}.numpy()[::2]", f"{y} = {x}.clone()", f"{y} = {x}.mT.numpy()"]
        case tuple():
            options += 5 * [f"{y} = {x}[0]"]
    return choose.choice(options)


def shown(value: Any) -> Any:
    """What a value shows: type, and content."""
    if isinstance(value, tuple):
        return [*map(shown, value)]
    return type(value).__name__, value.tolist() if hasattr(value, "tolist") else value


def depth(value: Any) -> int:
    """How many tuples lie in each other."""
    return 1 + max(map(depth, value)) if isinstance(value, tuple) else 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("fetch_bytes", [1 << 30, 3_000])
def test_parts_have_the_content_that_they_have_natively(seed: int, fetch_bytes: int) -> None:
    choose = random.Random(f"{seed} {fetch_bytes}")
    notebook = TwoMemories(fetch_bytes)
    notebook.native(f"import numpy as np, torch; {' = '.join(NAMES)} = None")
    done: list[str] = []
    for _ in range(STEPS):
        if max(depth(notebook.model[name]) for name in NAMES) > 4:
            notebook.native(f"{' = '.join(NAMES)} = None")
        source, where = cell(choose, notebook.model), choose.choice(["native", "remote", "remote"])
        done.append(f"{where}: {source}")
        notebook.fetch_all()
        getattr(notebook, where)(source)
        notebook.fetch_all()
        for name in NAMES:
            assert shown(notebook.here[name]) == shown(notebook.model[name]), (name, done)
