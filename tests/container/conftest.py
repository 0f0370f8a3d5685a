"""The far side and a native kernel, each started once for the tests that can share one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.container.far_side import FarSide
from tests.container.native import Kernel


@pytest.fixture(scope="package")
def kernel() -> Iterator[Kernel]:
    """A real ipykernel."""
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture(scope="package")
def shared() -> Iterator[FarSide]:
    """A far side for cells that leave nothing behind that another test would stumble over."""
    with FarSide() as far:
        yield far


@pytest.fixture
def far() -> Iterator[FarSide]:
    """A far side of a test's own."""
    with FarSide() as far:
        yield far
