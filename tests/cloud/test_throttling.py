"""A server that throttles, and says when to ask again; and one that fails a few times."""

from __future__ import annotations

import pytest

from tests.cloud.conftest import Far

SMALL, LARGE = 20_000, 3_000_000
"""Bytes of a value that goes through the queue, and of one that goes as a blob."""


@pytest.mark.parametrize(
    "rpc, nbytes",
    [
        ("FunctionMap", SMALL),
        ("FunctionGetOutputs", SMALL),
        ("QueueGet", SMALL),
        ("QueuePut", SMALL),
        ("BlobCreate", LARGE),
        ("BlobGet", LARGE),
    ],
)
@pytest.mark.parametrize(
    "status, times, retry_after",
    [("RESOURCE_EXHAUSTED", 2, 0.7), ("UNAVAILABLE", 5, 0.0)],
    ids=["throttled", "five times"],
)
def test_the_cell_runs_once_and_is_complete(
    far: Far, rpc: str, nbytes: int, status: str, times: int, retry_after: float
) -> None:
    assert far.kernel.run(f"import os\nsent = os.urandom({nbytes})").ok
    far.cloud.gates.fail(rpc, status=status, times=times, retry_after=retry_after)
    result = far.kernel.remote("count += 1\nprint('ran')\nback = sent[::-1]\nlen(back)", "T4", timeout=100)
    assert result.ok, result.error
    assert (result.stdout, result.value()) == ("ran\n", str(nbytes))
    assert not result.stderr
    assert far.kernel.print("count, back == sent[::-1]") == "1 True"
    assert far.cloud.gates.failed(rpc)
