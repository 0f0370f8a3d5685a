"""A server that throttles, and says when to ask again; and one that fails a few times."""

from __future__ import annotations

import pytest

from tests.cloud.conftest import Far


@pytest.mark.parametrize("rpc", ["FunctionMap", "FunctionGetOutputs", "QueueGet", "BlobCreate", "BlobGet"])
@pytest.mark.parametrize(
    "status, times, retry_after",
    [("RESOURCE_EXHAUSTED", 2, 0.7), ("UNAVAILABLE", 5, 0.0)],
    ids=["throttled", "five times"],
)
def test_the_cell_runs_once_and_is_complete(far: Far, rpc: str, status: str, times: int, retry_after: float) -> None:
    assert far.kernel.run("import os\nsent = os.urandom(20_000)").ok
    far.cloud.gates.fail(rpc, status=status, times=times, retry_after=retry_after)
    result = far.kernel.remote("count += 1\nprint('ran')\nback = sent[::-1]\nlen(back)", "T4", timeout=100)
    assert result.ok, result.error
    assert (result.stdout, result.value()) == ("ran\n", "20000")
    assert not result.stderr
    assert rpc != "FunctionMap" or result.seconds >= times * retry_after
    assert far.kernel.print("count, back == sent[::-1]") == "1 True"
    assert rpc == "BlobGet" or far.cloud.gates.failed(rpc)
