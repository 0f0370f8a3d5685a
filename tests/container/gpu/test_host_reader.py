"""The container's own figures against psutil and against systems that count nothing; unknown is None, never 0."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from modal_gpu_magic.container.gpu.host_reader import HostReader

BUSY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "block = bytearray(b'1') * (64 << 20)\\nprint(1, flush=True)\\nwhile 1: pass"])
child.wait()
time.sleep(60)
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process whose child is busy and holds 64 MiB."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()


def test_the_children_count_and_processes_of_others_do_not(parent: subprocess.Popen[str]) -> None:
    family = psutil.Process(parent.pid)
    (child,) = family.children()
    earliest, spent_before = time.monotonic(), seconds_of(family, child)
    reader = HostReader(parent.pid)
    first, counted = time.monotonic(), seconds_of(family, child)
    while seconds_of(family, child) < counted + 0.3:
        time.sleep(0.01)
    last = time.monotonic()
    sample = reader.read()
    latest, spent = time.monotonic(), seconds_of(family, child) - spent_before
    assert sample is not None
    assert sample.cpu is not None
    assert sample.cores is not None
    assert sample.cpu / 100 * sample.cores * (latest - earliest) >= 0.3 - TICKS
    assert sample.cpu / 100 * sample.cores * (last - first) <= spent + TICKS
    resident = (family.memory_info().rss + child.memory_info().rss) / 2**20
    assert sample.memory_used_mib == pytest.approx(resident, rel=0.1)
    assert sample.memory_total_mib is not None
    assert sample.memory_total_mib <= psutil.virtual_memory().total / 2**20 + 1
    space = psutil.disk_usage(".")
    assert sample.disk_used_mib == pytest.approx(space.used / 2**20, rel=0.05)
    assert sample.disk_total_mib == pytest.approx((space.used + space.free) / 2**20, rel=0.05)


def test_an_ended_child_s_time_still_counts(parent: subprocess.Popen[str]) -> None:
    (child,) = psutil.Process(parent.pid).children()
    began = time.monotonic()
    reader = HostReader(parent.pid)
    counted = seconds_of(child)
    while seconds_of(child) < counted + 0.3:
        time.sleep(0.01)
    child.kill()
    while psutil.Process(parent.pid).children():
        time.sleep(0.01)
    sample = reader.read()
    assert sample is not None
    assert sample.cpu is not None
    assert sample.cores is not None
    assert sample.cpu / 100 * sample.cores * (time.monotonic() - began) >= 0.3 - TICKS


TICKS = 0.1
"""Seconds by which CPU times may be wrong: Linux tells them in ticks of 0.01 s."""


def seconds_of(*processes: psutil.Process) -> float:
    """The CPU seconds of processes."""
    return sum(times.user + times.system for times in (each.cpu_times() for each in processes))


def test_other_processes_cost_no_reading_after_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = files(tmp_path / "proc", **GVISOR)
    files(proc, **{f"{pid}__stat": stat(0, 1, 1) for pid in range(1000, 1300)})
    reader = HostReader(1, str(proc), str(tmp_path))
    opened, really_open = list[str](), os.open

    def counted(path: Any, *how: Any, **more: Any) -> int:
        opened.append(str(path))
        return really_open(path, *how, **more)

    monkeypatch.setattr(os, "open", counted)
    reader.read()
    monkeypatch.undo()
    assert 0 < len(opened) < 20, opened


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        place = folder / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


def stat(parent: int, ticks: int, pages: int) -> str:
    values = ["S", str(parent), *["0"] * 9, str(ticks), "0", "0", "0", *["0"] * 6, str(pages)]
    return f"1 (a) b) {' '.join(values)}"


GVISOR = {
    "1__stat": stat(0, 0, 0),
    "1__io": "rchar: 0\nread_bytes: 0\nwrite_bytes: 0\n",
    "meminfo": "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n",
    "net__dev": "Inter-|\n face |\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 0 0 0 0 0 0 0 0 0 0\n",
}


def test_counters_that_are_always_zero_are_unknown(tmp_path: Path) -> None:
    reader = HostReader(1, str(files(tmp_path / "proc", **GVISOR)), str(tmp_path))
    sample = reader.read()
    assert sample is not None
    assert (sample.cpu, sample.disk_rate, sample.received, sample.sent, sample.memory_used_mib) == (None,) * 5
    assert sample.memory_total_mib == 2


def test_without_proc_only_the_file_system_is_known(tmp_path: Path) -> None:
    sample = HostReader(1, str(tmp_path / "none"), str(tmp_path / "none")).read()
    assert sample is not None
    known = [value for value in (*sample.row[:1], *sample.row[2:5], *sample.row[7:]) if value is not None]
    assert known == []
    assert sample.disk_total_mib


def test_rates_and_limits(tmp_path: Path) -> None:
    proc = files(tmp_path / "proc", **GVISOR)
    files(
        proc, **{"1__stat": stat(0, 100, 10), "1__io": "read_bytes: 1000\nwrite_bytes: 0\n", "2__stat": stat(1, 5, 20)}
    )
    files(
        proc,
        **{"3__stat": stat(0, 999, 999), "net__dev": "  eth0: 100 0 0 0 0 0 0 0 200 0\n eth1: 1 0 0 0 0 0 0 0 2 0\n"},
    )
    cgroup = files(tmp_path / "cgroup", **{"cpu.max": "50000 100000", "memory.max": "1048576"})
    reader = HostReader(1, str(proc), str(cgroup))
    files(proc, **{"1__io": "read_bytes: 5000\nwrite_bytes: 6000\n", "4__stat": stat(2, 10, 5)})
    files(proc, net__dev="  eth0: 1100 0 0 0 0 0 0 0 200 0\n eth1: 1 0 0 0 0 0 0 0 2 0\n")
    sample = reader.read()
    assert sample is not None
    assert sample.cores == 0.5
    assert sample.cpu is not None
    assert sample.cpu > 0
    assert sample.memory_total_mib == 1
    assert sample.memory_used_mib == pytest.approx(35 * os.sysconf("SC_PAGE_SIZE") / 2**20)
    assert sample.disk_rate is not None
    assert sample.received is not None
    assert sample.disk_rate == pytest.approx(10 * sample.received)
    assert sample.sent == 0


@pytest.mark.parametrize("text", ["max 100000", "-1 100000", "", "nonsense"])
def test_no_limit_of_the_control_group(tmp_path: Path, text: str) -> None:
    proc = files(tmp_path / "proc", **GVISOR)
    cgroup = files(tmp_path / "cgroup", **{"cpu.max": text, "memory.max": text.partition(" ")[0]})
    sample = HostReader(1, str(proc), str(cgroup)).read()
    assert sample is not None
    assert sample.cores == len(os.sched_getaffinity(0))
    assert sample.memory_total_mib == 2
