"""Kernel and container keep nothing of a cell that has ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)
CELLS = 30
COUNT = """
import collections, gc
_ = gc.collect()
kinds = [type(each) for each in gc.get_objects()]
print(dict(collections.Counter(kind.__name__ for kind in kinds if str(kind.__module__).startswith("modal_gpu_magic."))))
kinds = None
"""


@pytest.fixture
def warm() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.load()
        kernel.run("import gc, collections")
        for _ in range(3):
            assert kernel.remote("import gc\nq = 1\nprint(q)", "T4").ok
        yield kernel


def test_a_kernel_keeps_no_object_of_ours_for_a_cell(warm: Kernel) -> None:
    """Nor does the container: objects of this package by type, before and after some cells."""
    seen = []
    for _ in range(2):
        here, there = warm.run(COUNT), warm.remote(COUNT, "T4")
        assert [here.error, there.error] == ["", ""]
        seen.append([eval(each.stdout) for each in (here, there)])
        for _ in range(CELLS):
            assert warm.remote("q += 1\nprint(q)", "T4").ok
    for before, after in zip(*seen, strict=True):
        assert {name: after[name] for name in after if after[name] > before.get(name, 0) + CELLS // 3} == {}


REMEMBERED = """
import gc
from h2.connection import H2Connection
found = [each for each in gc.get_objects() if type(each) is H2Connection]
print(len(found) > 0, {each._closed_streams._size_limit for each in found})
"""


def test_a_connection_remembers_few_requests(warm: Kernel) -> None:
    """h2 itself remembers 65,536, which are 15 MB."""
    assert warm.run(REMEMBERED).stdout == "True {1000}\n"
