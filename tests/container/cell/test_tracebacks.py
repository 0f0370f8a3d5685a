"""A traceback without a line: a press may come at an instruction of a loop that belongs to no line."""

from __future__ import annotations

import traceback

import pytest

from modal_gpu_magic.container.cell.tracebacks import cut_ours

OURS = "def stop(): raise KeyboardInterrupt"
CELL = "while True: stop()"


def test_our_frames_are_cut_from_a_traceback_without_a_line() -> None:
    ours = {"__name__": "modal_gpu_magic.container.cell.shell"}
    exec(OURS, ours)
    cell = compile(CELL, "<cell>", "exec").replace(co_linetable=b"")
    with pytest.raises(KeyboardInterrupt) as raised:
        exec(cell, {"__name__": "__main__", "stop": ours["stop"]})
    lines: list[int | None] = [line for _, line in traceback.walk_tb(raised.value.__traceback__)]
    assert lines[1] is None  # of the cell
    cut_ours(raised.value)
    cut = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(raised.value.__traceback__)]
    assert cut[-1] == ("<cell>", 1)
