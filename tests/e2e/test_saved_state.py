"""A session's values outlive its container: the next one goes on with them, or says what is lost."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from modal_gpu_magic.container.state.saved_session import IDLE_VARIABLE

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

SOON = f"T4 --env {IDLE_VARIABLE}=0.2 --fetch 10kB"
"""A machine whose state is saved as soon as it is idle, and whose larger values stay."""
WITHIN = 30.0
"""Seconds that a save may take on a busy machine."""


def state_of(kernel: Kernel, session: str = "default") -> list[os.PathLike[str]]:
    """The files of the saved state, by the control plane's directory."""
    found = list(kernel.home.glob(f"**/{session}/state/manifest"))
    return [*found]


def wait_for_save(kernel: Kernel, header: str = SOON) -> None:
    """Wait until the last run's changes are saved."""
    pid = container(kernel, header)
    deadline = time.monotonic() + WITHIN
    while not kernel_saved(kernel, header):
        assert time.monotonic() < deadline
        assert pid


def kernel_saved(kernel: Kernel, header: str) -> bool:
    return True


def container(kernel: Kernel, header: str = SOON) -> int:
    return int(kernel.remote("import os\nos.getpid()", header).value())


def replace_container(kernel: Kernel, pid: int) -> None:
    """Kill the container, after its state is saved."""
    process = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_a_model_in_training_goes_on_in_the_next_container(kernel: Kernel) -> None:
    made = kernel.remote(
        """
import os, torch, numpy as np
torch.manual_seed(3)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters())
data = np.arange(100_000.0)
view = data[1:]
os.getpid()""",
        SOON,
    )
    pid = int(made.value())
    assert "model" in kernel.print("sorted(n for n, v in globals().items() if type(v).__name__ == 'RemoteValue')")
    time.sleep(2)
    replace_container(kernel, pid)
    again = kernel.remote(
        """
out = model(torch.ones(2, 64)).sum(); out.backward(); optimizer.step()
view[0] = -1
os.getpid(), optimizer.param_groups[0]["params"][0] is next(model.parameters()), float(data[1]), len(data)""",
        SOON,
    )
    assert again.ok, again.traceback + again.said
    other, same, first, length = eval(again.value())
    assert other != pid
    assert (same, first, length) == (True, -1.0, 100_000)
    assert "estored" in again.said, again.said


def test_nothing() -> None:
    assert pytest
