"""What the processes of the tests are spared, so that two cores are enough. The benchmarks spare nothing."""

from __future__ import annotations

import os
from typing import Final

FRUGAL: Final = {"MODAL_GPU_STANDBY_REFILL": "0"}
"""Variables of every process that the tests start: nobody would use most of the standby processes."""


def spare() -> None:
    """Set them for this process, and so for those that it starts."""
    os.environ.update(FRUGAL)
