"""Enforce a cell's `--timeout` and budget in the container: interrupt the cell first, then end the container.

The client has a watchdog as well: while C code holds the GIL, no thread of this process runs.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.alarms import Alarm, Alarms
from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from modal_gpu_magic.container.process.interrupt import Interrupt
    from modal_gpu_magic.wire.messages.events import Spending

GRACE_SECONDS: Final = 10.0
"""Seconds that a cell may take to end after its interruption."""
FINAL_POST_SECONDS: Final = 5.0
"""Seconds that the final post may take before the container ends."""
EXIT_STATUS: Final = 124
"""The exit status of `timeout(1)`."""
_ALARMS: Final = Alarms(partial(daemon, "modal-gpu-watchdog"))


class Watchdog:
    """Limits one run to `seconds` (None: no limit). `budget`: the budget that gives the limit; empty: the timeout.

    If the cell does not end within `grace` seconds of its interruption, the watchdog calls `last_words`, which may take
    5 s to post the remaining output, and then `end` with exit status 124.
    """

    def __init__(
        self,
        interrupt: Interrupt,
        seconds: float | None,
        last_words: Callable[[], object] | None = None,
        *,
        budget: str = "",
        grace: float = GRACE_SECONDS,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._interrupt, self._seconds, self._grace = interrupt, seconds, grace
        self._last_words, self._end, self._budget = last_words, end, budget
        self._over = threading.Event()
        self._alarm: Alarm | None = None

    def __enter__(self) -> Self:
        if self._seconds is not None:
            self._alarm = _ALARMS.set(self._seconds, self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._alarm is not None:
            _ALARMS.cancel(self._alarm)
        self._over.set()

    def _expire(self) -> None:
        if self._over.is_set():
            return
        self._interrupt.expire(self._budget)
        if self._over.wait(self._grace):
            return
        if self._last_words:
            daemon("modal-gpu-last-words", self._last_words).join(FINAL_POST_SECONDS)
        self._end(EXIT_STATUS)


def limit(timeout: float | None, spending: Spending | None, billed: float) -> tuple[float | None, str]:
    """Return the seconds that a run may take from now on, and the budget that gives them; empty: the timeout.

    Args:
        timeout: the run's timeout, seconds; None: none.
        spending: the run's budget; None: none.
        billed: seconds that were billed for the run before now: the start of its container.
    """
    if spending is None:
        return timeout, ""
    left = max(0.0, spending.seconds - billed)
    return (left, spending.words) if timeout is None or left < timeout else (timeout, "")
