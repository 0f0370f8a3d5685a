"""Crash reports of faulthandler, as logs have them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from modal_gpu_magic.wire.inspection.crash_report import CrashReport, crash_report

FAULT = "Fatal Python error: Segmentation fault"
HEAD = "Current thread 0x00007f (most recent call first):"
OTHER = 'Thread 0x00007e (most recent call first):\n  File "/lib/threading.py", line 5 in wait\n'
USERS = (
    '  File "/lib/ctypes/__init__.py", line 519 in string_at',
    '  File "/tmp/ipykernel_7/123.py", line 3 in <module>',
)
BELOW = (
    '  File "/lib/site-packages/IPython/core/interactiveshell.py", line 3823 in run_code',
    '  File "/lib/site-packages/modal_gpu_magic/container/cell/shell.py", line 146 in run_code',
    '  File "/lib/site-packages/modal/_container_entrypoint.py", line 189 in run_input_sync',
    '  File "/home/ada/modal/train.py", line 7 in main',
)
REST = "Extension modules: numpy (total: 1)\nRunner failed with exit code: -11\n"


def log(*frames: str, rest: str = REST) -> str:
    return "before\n" + "\n".join((FAULT, "", OTHER, HEAD, *frames)) + f"\n\n{rest}"


CASES = {
    "none": ("all is well\n", None),
    "a cell": (log(*USERS, *BELOW), CrashReport(FAULT, "\n".join((HEAD, *USERS)), REST)),
    "a thread of the user's": (log(*USERS), CrashReport(FAULT, "\n".join((HEAD, *USERS)), REST)),
    "not in a cell": (log(USERS[0], *BELOW[1:]), CrashReport(FAULT, "\n".join((HEAD, USERS[0], BELOW[3])), REST)),
    "no thread": (f"{FAULT}\n\n{OTHER}", CrashReport(FAULT)),
    "two": (f"{FAULT} of a child\n{log(*USERS)}", CrashReport(FAULT, "\n".join((HEAD, *USERS)), REST)),
    "cut off": (f"{FAULT}\n\n{HEAD}\n{USERS[0]}", CrashReport(FAULT, f"{HEAD}\n{USERS[0]}")),
}


@pytest.mark.parametrize("case", CASES)
def test_reports(case: str) -> None:
    text, expected = CASES[case]
    assert crash_report(text) == expected


def test_a_report_of_this_python() -> None:
    source = "import ctypes, faulthandler\nfaulthandler.enable()\ndef dies(): ctypes.string_at(0)\ndies()"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    found = crash_report(done.stderr)
    assert found is not None
    assert found.fault == FAULT
    assert "in string_at" in found.thread
    assert 'File "<string>", line 3 in dies' in found.thread
