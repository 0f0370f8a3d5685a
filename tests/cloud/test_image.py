"""An image that cannot be built: the end of its log, the layer and what to change, in one error without frames."""

from __future__ import annotations

from tests.cloud.conftest import Far


def test_a_package_that_does_not_exist(far: Far) -> None:
    result = far.kernel.remote("1", "T4 --session unbuilt --pip modal-gpu-magic-no-such-package==99", timeout=100)
    assert result.error.startswith("MachineError: the image could not be built")
    assert "--pip modal-gpu-magic-no-such-package" in result.error
    assert "in its layer `RUN python -m pip install" in result.error
    assert "No matching distribution found" in result.error
    assert "modal image logs" not in result.error
    assert "modal_gpu_magic/" not in result.traceback
    assert far.cloud.gates.passed("ImageBuildChainGet")
    again = far.kernel.remote("1 + 1", "T4 --session unbuilt --image slim", timeout=100)
    assert again.ok or "no-such-package" in again.error
