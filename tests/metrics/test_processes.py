"""nvidia-smi's list of processes: odd rows are ignored, unknown stays unknown, an ended process leaves the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.metrics.processes import KEPT_SECONDS, GpuProcess, ProcessTable, parse_process, processes_of

P = GpuProcess


@pytest.mark.parametrize(
    ("line", "process"),
    [
        ("GPU-a, 4711, 2048, /usr/bin/python3", P("GPU-a", 4711, 2048.0, "/usr/bin/python3")),
        ("GPU-a, 4711, 2048 MiB, python3\r", P("GPU-a", 4711, 2048.0, "python3")),
        ("MIG-a, 1, 0, a, b", P("MIG-a", 1, 0.0, "a, b")),
        ("GPU-a, 4711, [N/A], [Not Found]", P("GPU-a", 4711)),
        ("GPU-a, 4711, [Insufficient Permissions], [Insufficient Permissions]", P("GPU-a", 4711)),
        ("GPU-a, 4711, N/A, -", P("GPU-a", 4711)),
        ("GPU-a, 4711, 2048, <img src=x>", P("GPU-a", 4711, 2048.0, "<img src=x>")),
        *((text, None) for text in ("", "GPU-a, 4711, 2048", "GPU-a, -1, 2, x", "[N/A], 4711, 2, x", "GPU-a, ٣, 2, x")),
        ("gpu_uuid, pid, used_gpu_memory [MiB], process_name", None),
        ("No running processes found", None),
        ("0, GPU-tape, 50, 3, 1024, 81559, 350.5", None),
    ],
)
def test_rows(line: str, process: GpuProcess | None) -> None:
    assert parse_process(line) == process


@given(st.text())
def test_any_text(text: str) -> None:
    parse_process(text)
    ProcessTable(1.0).feed(text, 0.0)


def test_a_process_that_is_no_longer_printed_leaves_the_table() -> None:
    table = ProcessTable(2.0)
    table.feed("GPU-a, 1, 10, one\nGPU-a, 2, 20, two\nGPU-b, 2, 5, tw", 0.0)
    assert [(each.pid, each.memory_mib) for each in table.at(0.0)] == [(2, 20), (1, 10)]
    table.feed("o\nGPU-a, 1, 30, one\n", 3.0)
    assert [(each.gpu_uuid, each.pid, each.memory_mib) for each in table.at(2 * KEPT_SECONDS + 0.1)] == [
        ("GPU-a", 1, 30),
        ("GPU-b", 2, 5),
    ]
    assert table.at(100.0) == ()


def test_processes_cross_as_plain_tuples_and_a_malformed_row_is_ignored() -> None:
    processes = (P("GPU-a", 1, 2.0, "x"), P("GPU-a", 2))
    rows = tuple(each.row for each in processes)
    assert rows == (("GPU-a", 1, 2.0, "x"), ("GPU-a", 2, None, None))
    assert processes_of(rows) == processes
    assert processes_of(
        [("GPU-a", 1, 2.0, "x", "more"), ("GPU-a",), (None, 1, 2.0, "x"), ("GPU-a", "1", 2.0, "x")]
    ) == (P("GPU-a", 1, 2.0, "x"),)
