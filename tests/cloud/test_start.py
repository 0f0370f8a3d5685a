"""A container that hangs while it starts is ended after a limit, which costs little and is said."""

from __future__ import annotations

import pytest

from tests.cloud.conftest import Far


@pytest.mark.timeout(300)
def test_a_container_that_does_not_start_is_ended(far: Far) -> None:
    far.cloud.gates.close("FunctionGetInputs")
    result = far.kernel.remote("1", "T4 --session hangs --start-timeout 2s", timeout=110)
    assert "did not start in time" in result.error
    assert "--start-timeout" in result.error
    assert result.seconds < 100
    assert len(result.traceback.strip().splitlines()) == 1
    far.cloud.gates.open("FunctionGetInputs")
    again = far.kernel.remote("1 + 1", "T4 --session hangs --start-timeout 60s", timeout=110)
    assert again.value() == "2", again.error


@pytest.mark.parametrize("header, seconds", [("H100", 1200), ("H100 --start-timeout 40m", 2400)])
def test_a_dry_run_shows_the_limit(far: Far, header: str, seconds: int) -> None:
    shown = far.kernel.run(f"%%modal_gpu {header} --session dry --dry-run\n1")
    assert f"startup_timeout={seconds}" in shown.stdout
