"""Read Python's crash report, which faulthandler writes into the log of a process that dies in native code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FAULT: Final = "Fatal Python error"
_THREAD: Final = "Current thread"
_BELOW_THE_CELL: Final = re.compile(r'IPython[/\\]core[/\\]interactiveshell\.py", line \d+ in run_code$')
"""The frame of IPython that has called the user's code: this frame and all below are of no use to a reader."""
_NOT_THE_USERS: Final = re.compile(r"(?:site-packages[/\\]modal|modal_gpu_magic)[/\\]")


@dataclass(frozen=True, slots=True)
class CrashReport:
    """A crash report.

    Attributes:
        fault: the line that names the fault.
        thread: the frames of the thread that crashed, latest first, down to the cell; empty: the report has none.
        rest: what the log has after the frames.
    """

    fault: str
    thread: str = ""
    rest: str = ""


def crash_report(log: str) -> CrashReport | None:
    """Return the last crash report of a log, without the other threads; None: the log has none."""
    begin = log.rfind(_FAULT)
    if begin < 0:
        return None
    fault = log[begin:].partition("\n")[0]
    current = log.find(_THREAD, begin)
    if current < 0:
        return CrashReport(fault)
    thread, _, rest = log[current:].partition("\n\n")
    return CrashReport(fault, _of_the_user(thread), rest)


def _of_the_user(thread: str) -> str:
    """Leave out the frames that are not of user code, or called by user code."""
    head, *frames = thread.splitlines()
    ends = [number for number, frame in enumerate(frames) if _BELOW_THE_CELL.search(frame)]
    kept = frames[: ends[0]] if ends else [frame for frame in frames if not _NOT_THE_USERS.search(frame)]
    return "\n".join((head, *kept))
