"""Adapter of `concurrent.futures.thread._worker`: tells which threads of a pool are idle.

The public API does not say whether a pool's thread is idle. Tested with Python 3.10 to 3.13. Symptom if this breaks:
output of a pool's thread in a later cell appears below an earlier cell.
"""

from __future__ import annotations

import concurrent.futures.thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_IDLE = getattr(getattr(concurrent.futures.thread, "_worker", None), "__code__", None)


def waits_for_work(frame: FrameType) -> bool:
    """Whether a thread with this innermost frame is an idle thread of a pool."""
    return frame.f_code is _IDLE
