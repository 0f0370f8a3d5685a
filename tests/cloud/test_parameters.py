"""Modal refuses a class with a parameter: each session gets an App of its own, and cells run as before."""

from __future__ import annotations

import pytest

from tests.cloud.conftest import Far


@pytest.mark.parametrize("status", ["INVALID_ARGUMENT", "UNIMPLEMENTED"])
def test_sessions_stay_apart_without_the_parameter(far: Far, status: str) -> None:
    far.cloud.gates.fail("FunctionBindParams", status=status)
    header = f"H100 A100-80GB --env STATUS={status} --session"
    source = "import os\nos.getpid()"
    runs = [far.kernel.remote(source, f"{header} {name}", timeout=100) for name in ("one", "other", "one", "other")]
    one, other, *again = [run.value() for run in runs]
    assert one != other
    assert again == [one, other]
    assert far.kernel.run("%modal_gpu stop one").ok
    assert far.kernel.run("%modal_gpu stop other").ok
