"""Large values on a slow line: the status says that they are sent, and nothing is billed before a container exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cloud.cloud import cloud
from tests.cloud.proxy import Link, megabits
from tests.e2e.kernel import Kernel
from tests.e2e.test_phases import order, shown, until


@pytest.mark.timeout(300)
def test_values_are_sent_before_they_are_restored(tmp_path: Path) -> None:
    """Each sending takes 8 s; the status is shown after one."""
    running = tmp_path / "running"
    slow = Link(delay=0.02, up=megabits(6), down=megabits(400))
    with cloud(slow) as far, Kernel(env=far.environ) as kernel:
        kernel.load()
        kernel.run("%config ModalGpu.dashboard = False")
        kernel.run("import os\nlarge = os.urandom(6_000_000)")
        cold = kernel.remote("len(large)", "T4", timeout=100)
        order(shown(cold), r"sending 6\.0 MB")
        kernel.run("large = os.urandom(6_000_000)")
        warm = kernel.remote(f"{until(running)}\nlen(large)", "T4", when={"running on T4": running.touch}, timeout=100)
        order(shown(warm), r"sending 6\.0 MB", "running on T4")
        assert "waiting" not in " ".join(shown(warm))
