"""Adapter of `concurrent.futures.thread._worker`: which threads of a pool wait for work.

A pool says in no public way whether a thread of it works. Tested with Python 3.10 to 3.13. Symptom if this breaks:
what a pool's thread prints in a later cell is shown in the output of an earlier one.
"""

from __future__ import annotations

import concurrent.futures.thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_IDLE = getattr(getattr(concurrent.futures.thread, "_worker", None), "__code__", None)


def waits_for_work(frame: FrameType) -> bool:
    """Whether a thread with this innermost frame is a pool's that has nothing to do."""
    return frame.f_code is _IDLE
