"""A cloud that cannot be reached when the first cell runs: one sentence within seconds, and the next cell tries again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cloud.cloud import Cloud, cloud
from tests.e2e.kernel import Kernel

LIMIT = 45.0
"""Seconds until the sentence: 10 of waiting, the rest is the machine's load. Before, it was 57."""


@pytest.fixture
def far() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


def test_the_first_cell_says_so_and_the_next_one_connects(far: Cloud) -> None:
    far.proxy.refuse()
    with Kernel(env=far.environ) as kernel:
        kernel.load()
        result = kernel.remote("1", "T4", timeout=110)
        assert "Modal cannot be reached" in result.error
        assert result.seconds < LIMIT
        assert len(result.traceback.strip().splitlines()) == 1
        assert result.messages[-1].kind == "error"
        assert len(result.messages) == 1
        far.proxy.mend()
        again = kernel.remote("1 + 1", "T4", timeout=110)
        assert again.ok, again.error
        assert again.value() == "2"
