"""numpy and torch over one memory: what changes one of them changes the other, wherever and whenever each was made."""

from __future__ import annotations

import random
from itertools import product
from typing import Final

import pytest
import torch

from modal_gpu_magic.wire.pickles.types.shared_memory import SharedMemory
from tests.session.same_graph import compare
from tests.session.two_memories import TwoMemories

PAIRS: Final = {
    "tensor.numpy()": ("a = torch.zeros(4)", "c = a.numpy()", "a[0] += 1", "c[1] += 5"),
    "of a part": ("a = torch.zeros(4)", "c = a[1:].numpy()", "a[1] += 1", "c[1] += 5"),
    "every second": ("a = torch.zeros(4)", "c = a.numpy()[::2]", "a[0] += 1", "c[1] += 5"),
    "backwards": ("a = torch.zeros(4)", "c = a.numpy()[::-1]", "a[0] += 1", "c[1] += 5"),
    "transposed": ("a = torch.zeros(4, 2)", "c = a.t().numpy()", "a[0] += 1", "c[1] += 5"),
    "expanded": ("a = torch.zeros(2)", "c = a.expand(3, 2).numpy()", "a[0] += 1", "a[1] += 5"),
    "of a parameter": (
        "a = torch.nn.Linear(2, 2).requires_grad_(False)",
        "c = a.weight.numpy()",
        "a.weight += 1",
        "c[1] += 5",
    ),
    "of the values of a model": (
        "a = torch.nn.Linear(2, 2).requires_grad_(False)",
        "c = {name: value.numpy() for name, value in a.state_dict().items()}",
        "a.bias += 1",
        "c['bias'] += 5",
    ),
    "np.asarray": ("a = torch.zeros(4)", "c = np.asarray(a)", "a[0] += 1", "c[1] += 5"),
    "np.from_dlpack": ("a = torch.zeros(4)", "c = np.from_dlpack(a)", "a[0] += 1", "a[1] += 5"),
    "torch.from_numpy": ("a = np.zeros(4)", "c = torch.from_numpy(a)", "a[0] += 1", "c[1] += 5"),
    "torch.as_tensor": ("a = np.zeros(4)", "c = torch.as_tensor(a)", "a[0] += 1", "c[1] += 5"),
    "from_numpy of a part": ("a = np.zeros(4)", "c = torch.from_numpy(a[1:])", "a[1] += 1", "c[1] += 5"),
    "from_numpy of every second": ("a = np.zeros(4)", "c = torch.from_numpy(a[::2])", "a[0] += 1", "c[1] += 5"),
    "from_numpy in columns": ("a = np.zeros((3, 2))", "c = torch.from_numpy(a.T)", "a[0] += 1", "c[1] += 5"),
    "from_numpy of columns": ("a = np.zeros((3, 2), order='F')", "c = torch.from_numpy(a)", "a[0] += 1", "c[1] += 5"),
    "part of from_numpy": ("a = np.zeros(4)", "c = torch.from_numpy(a)[1:]", "a[1] += 1", "c[1] += 5"),
    "there and back": ("a = np.zeros(4)", "c = torch.from_numpy(a)[1:].numpy()", "a[1] += 1", "c[1] += 5"),
    "three": ("a = torch.zeros(6)", "c = [a.numpy(), a[1:].numpy(), a.view(2, 3)]", "a[2] += 1", "c[1][1] += 5"),
    "of another type": ("a = torch.zeros(4)", "c = a.numpy().view('i4')", "a[0] += 1", "c[1] += 5"),
    "two tensors of one array": (
        "x = np.zeros(4); a = torch.from_numpy(x)",
        "c = torch.from_numpy(x)",
        "a[0] += 1",
        "c[1] += 5",
    ),
    "two tensors of one name": ("a = torch.zeros(4)", "c = torch.from_numpy(a.numpy())", "a[0] += 1", "c[1] += 5"),
    "part of a tensor": ("a = torch.zeros(4)", "c = torch.from_numpy(a.numpy()[1:])", "a[1] += 1", "c[1] += 5"),
    "large": ("a = torch.zeros(40_000)", "c = a.numpy()", "a[0] += 1", "c[1] += 5"),
    "part of large": ("a = np.zeros(40_000)", "c = torch.from_numpy(a[1:])", "a[1] += 1", "c[1] += 5"),
    "small part of large": ("a = torch.zeros(400_000)", "c = a[7:9].numpy()", "a[7] += 1", "c[1] += 5"),
    "deep inside": ("a = [torch.zeros(4)]", "c = {'k': (a[0].numpy(),)}", "a[0][0] += 1", "c['k'][0][1] += 5"),
}
"""Cells that make two objects over one memory, and cells that change either."""

SIDES: Final = ("native", "remote")


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("seed", range(4))
def test_one_memory_stays_one(pair: tuple[str, str, str, str], seed: int) -> None:
    make, other, *changes = pair
    for first, second in product(SIDES, SIDES):
        choose = random.Random(f"{seed}{first}{second}")
        notebook = TwoMemories()
        notebook.native("import numpy as np, torch")
        steps = [(first, f"torch.manual_seed(0); {make}"), (second, other)]
        if choose.random() < 0.3:
            steps = [(first, f"torch.manual_seed(0); {make}\n{other}")]
        steps += [(choose.choice(SIDES), choose.choice(changes)) for _ in range(8)]
        for where, source in steps:
            getattr(notebook, where)(source)
            if choose.random() < 0.5:
                compare(notebook.model, notebook.here, notebook.user_names())
        compare(notebook.model, notebook.here, notebook.user_names())


PARTS: Final = {
    "of an image": ("np.arange(64.).reshape(8, 8)[2:6, 2:6]", "c[1]"),
    "of the part": ("np.arange(64.).reshape(8, 8)[2:6, 2:6]", "c[1:3, ::2]"),
    "every second": ("np.arange(6.)[::2]", "c[1:]"),
    "transposed": ("np.arange(6.).reshape(2, 3)[:, 1:]", "c.T"),
    "backwards": ("np.arange(6.)[::-1]", "c[1:]"),
    "backwards again": ("np.arange(6.)[::-1]", "c[::-1]"),
    "of integers": ("np.arange(12).reshape(3, 4)[:, ::2]", "c[1:, 1:]"),
    "as another type": ("np.arange(12.).reshape(3, 4)[:, ::2]", "c.view('i8')[1]"),
    "of a field": ("np.zeros(3, [('p', 'i4'), ('q', 'f8')])['q']", "c[1:]"),
    "with an axis more": ("np.arange(12.).reshape(3, 4)[:, ::2]", "c[None, 1]"),
    "of columns": ("np.arange(12.).reshape(3, 4).T", "c[1:]"),
}
"""Expressions for a part of an array, and for a part of that part."""


@pytest.mark.parametrize("whole", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("where", SIDES)
def test_a_part_of_a_part_shares_its_memory_although_a_copy_has_no_gaps(whole: tuple[str, str], where: str) -> None:
    part, inner = whole
    notebook = TwoMemories()
    notebook.native("import numpy as np")
    getattr(notebook, where)(f"c = {part}")
    for side, source in (
        *(("remote", f"d = {inner}"), ("remote", "d[0] = 5"), ("native", "c[1] = 7"), ("remote", "d[-1] += 1")),
        *(("native", "d[0] += 2"), ("remote", "c[0] = 1"), ("native", f"e = {inner}"), ("remote", "e[0] += 1")),
    ):
        getattr(notebook, side)(source)
        compare(notebook.model, notebook.here, notebook.user_names())


def test_small_parts_of_a_large_array_cross_without_the_rest() -> None:
    notebook = TwoMemories()
    notebook.native(
        "import numpy as np; big = np.zeros((1000, 1000)); rows = [big[0], big[5]]; row = big[7]; column = big[:, 3]"
    )
    for source in ("rows[0][0] = 1", "row[1] = 2", "column[2] = 3", "rows[1][2] = row[1] + column[2]"):
        notebook.remote(source)
        compare(notebook.model, notebook.here, notebook.user_names())
    assert max(notebook.sent_bytes) < 60_000
    notebook.remote("half = big[:600]; total = float(half.sum())")
    notebook.native("half[0, 0] = 5")
    notebook.remote("half[0, 1] = 6; rows[0][2] = 7")
    compare(notebook.model, notebook.here, notebook.user_names())


def test_what_is_made_of_a_part_without_gaps_comes_home_as_its_copy() -> None:
    """The container's part of a large array has no gaps: there, `reshape` makes a view where it makes a copy natively."""
    notebook = TwoMemories()
    notebook.native("import numpy as np; big = np.arange(90_000.).reshape(300, 300); part = big[:20, :30]")
    notebook.remote("rows = part[3:5]")
    notebook.native("rows[0] = 4; big[4, 1] = 9")
    notebook.remote("rows[1] += 1; part[3] += 1")
    compare(notebook.model, notebook.here, ["rows", "part", "big"])
    notebook.remote("flat = part.reshape(-1); integers = part.reshape(-1).view('i8')")
    compare(notebook.model, notebook.here, ["flat", "integers", "rows", "part"])


def test_storages_without_memory_are_no_parts_of_each_other() -> None:
    storages = [
        torch.zeros(length, device=device).untyped_storage()
        for length, device in ((4, "meta"), (2, "meta"), (0, "cpu"))
    ]
    memory = SharedMemory([], storages, lambda _: False)
    assert [memory.around(storage) for storage in storages] == [None, None, None]


def test_parts_may_be_empty() -> None:
    notebook = TwoMemories()
    notebook.native("import numpy as np, torch; big = np.zeros((300, 300)); empty = big[:0]; part = big[:20, :30]")
    notebook.remote("n = len(empty) + len(part)")
    notebook.native("other = big[100:110, :30]; none = part[:0]")
    notebook.remote("other[0] = 5; row = part[1]; more = empty[:0]; number = part[2, 3:4].reshape(()); m = len(none)")
    notebook.remote("row[0] = 6; number[()] = 7; nothing = torch.zeros(0).numpy(); t = torch.from_numpy(nothing)")
    notebook.remote("sizes = [each.size for each in (none, more, nothing, t.numpy(), nothing[:0])]")
    compare(notebook.model, notebook.here, ["n", "m", "part", "big", "other", "row", "number", "sizes"])
