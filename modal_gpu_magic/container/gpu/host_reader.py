"""Read the container's own CPU, memory, disk and network from /proc and the control groups, about once a second.

CPU, memory and disk are those of the container's processes: this process and its descendants. A container's /proc/stat
may be all zeros (gVisor) or the whole machine's (local containers). Without /proc (macOS) all values are unknown.

Modules such as psutil are not in every image; `os.read` keeps working if a cell replaces `open`.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from modal_gpu_magic.metrics.host import HostSample

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES: Final = 64 << 10
"""Most bytes read of a file."""
MIB: Final = 1 << 20
KIB_PER_MIB: Final = 1024
CLOCK_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
CPU_LIMITS: Final = ("cpu.max", "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us")
"""Files of a control group (version 2, version 1) with the CPU limit: microseconds per period, and the period."""
MEMORY_LIMITS: Final = ("memory.max", "memory/memory.limit_in_bytes")


class Counters(NamedTuple):
    """Totals at one time, of which the difference counts. None: unknown, or not counted by this system."""

    at: float
    cpu_seconds: float | None
    disk_bytes: float | None
    received: float | None
    sent: float | None


class Family:
    """A process and its descendants. A process once seen outside stays outside, so that a look reads few files."""

    def __init__(self, leader: int, proc: str) -> None:
        self._leader, self._proc = leader, proc
        self._members: set[int] = {leader}
        self._outsiders: set[int] = set()

    def look(self) -> tuple[float, int, int] | None:
        """Return CPU seconds, resident bytes, and bytes read from and written to disks; None: /proc is not readable.

        CPU seconds and disk bytes include those of ended processes whose parent has waited for them.
        """
        try:
            pids = {int(entry) for entry in os.listdir(self._proc) if entry.isdigit()}  # noqa: PTH208 - faster
        except OSError:
            return None
        rows = {pid: row for pid in pids - self._outsiders if (row := self._stat(pid))}
        if self._leader not in rows:
            return None
        parents = {pid: row[0] for pid, row in rows.items()}
        self._members = {pid for pid in rows if pid in self._members or self._descends(pid, parents)}
        self._outsiders = pids - self._members
        own = [rows[pid] for pid in self._members]
        disk = sum(self._disk(pid) for pid in self._members)
        return sum(row[1] for row in own), sum(row[2] for row in own), disk

    def _descends(self, pid: int, parents: dict[int, int]) -> bool:
        seen: set[int] = set()
        while pid in parents and pid not in seen:
            if pid in self._members:
                return True
            seen.add(pid)
            pid = parents[pid]
        return pid in self._members

    def _stat(self, pid: int) -> tuple[int, float, int] | None:
        """Return a process's parent, CPU seconds and resident bytes.

        /proc/PID/stat (proc(5)), after the name: state, ppid, ..., utime (12th), stime, cutime, cstime, ..., rss (22nd)
        """
        values = _read(f"{self._proc}/{pid}/stat").rpartition(")")[2].split()
        try:
            ticks = sum(int(values[index]) for index in (11, 12, 13, 14))
            return int(values[1]), ticks / CLOCK_TICKS_PER_SECOND, int(values[21]) * PAGE_BYTES
        except (ValueError, IndexError):  # the process has ended
            return None

    def _disk(self, pid: int) -> int:
        lines = _pairs(_read(f"{self._proc}/{pid}/io"))
        return sum(_int(lines.get(name, "")) or 0 for name in ("read_bytes", "write_bytes"))


class HostReader:
    """Reads `HostSample`s; rates are those since the reading before.

    Args:
        leader: the container's leading process.
        proc: path of the proc file system.
        cgroup: path of the control groups.
    """

    def __init__(self, leader: int | None = None, proc: str = "/proc", cgroup: str = "/sys/fs/cgroup") -> None:
        self._proc, self._cgroup = proc, cgroup
        self._family = Family(leader or os.getpid(), proc)
        self._resident = 0
        self._before = self._count()

    def read(self) -> HostSample | None:
        """Return the values now; None: nothing is known."""
        before, now = self._before, self._count()
        self._before = now
        seconds = max(now.at - before.at, 1e-3)
        cores = self._cores()
        memory = _pairs(_read(f"{self._proc}/meminfo"))
        total, free = _kib(memory.get("MemTotal")), _kib(memory.get("MemAvailable"))
        limit = self._limit(MEMORY_LIMITS, _memory_limit)
        used, space = _file_system()

        def rate(name: str) -> float | None:
            first, last = getattr(before, name), getattr(now, name)
            return None if first is None or last is None else max(0.0, (last - first) / seconds)

        cpu = rate("cpu_seconds")
        sample = HostSample(
            cpu=None if cpu is None or not cores else min(100.0, 100 * cpu / cores),
            cores=cores,
            memory_used_mib=self._used_memory(total, free),
            memory_total_mib=min((each for each in (total, limit) if each), default=None),
            disk_rate=rate("disk_bytes"),
            disk_used_mib=used,
            disk_total_mib=space,
            received=rate("received"),
            sent=rate("sent"),
        )
        return sample if any(value is not None for value in sample.row) else None

    def _used_memory(self, total: float | None, free: float | None) -> float | None:
        """Return the resident memory; not more than the system's, since processes share pages."""
        resident = self._resident / MIB
        return min(resident, total - free) if total and free is not None and resident else resident or None

    def _count(self) -> Counters:
        family, (received, sent) = self._family.look(), self._network()
        cpu, self._resident, disk = family or (None, 0, None)
        # A total of 0 is no counter: this process has used CPU time, and has come over a network.
        return Counters(time.monotonic(), cpu or None, disk or None, received or None, sent or None)

    def _network(self) -> tuple[int, int]:
        """Return the bytes received and sent by all interfaces but the loopback."""
        received = sent = 0
        for name, values in _pairs(_read(f"{self._proc}/net/dev")).items():
            columns = values.split()
            if name != "lo" and len(columns) > 8:  # noqa: PLR2004 - proc_net_dev(5): the 9th column is bytes sent
                received += _int(columns[0]) or 0
                sent += _int(columns[8]) or 0
        return received, sent

    def _cores(self) -> float | None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        quota = self._limit(CPU_LIMITS, _cpu_limit)
        return min((each for each in (cores, quota) if each), default=None)

    def _limit(self, names: tuple[str, ...], parse: Callable[[str], float | None]) -> float | None:
        for name in names:
            text = " ".join(_read(f"{self._cgroup}/{file}") for file in name.split())
            limit = parse(text)
            if limit:
                return limit
        return None


def _cpu_limit(text: str) -> float | None:
    quota, period = ([_int(word) for word in text.split()] + [None, None])[:2]
    return quota / period if quota and period else None


def _memory_limit(text: str) -> float | None:
    limit = _int(text.strip())
    return limit / MIB if limit else None


def _file_system() -> tuple[float | None, float | None]:
    """Return used space and size of the file system of the working directory, MiB."""
    try:
        found = os.statvfs(".")
    except OSError:
        return None, None
    used = (found.f_blocks - found.f_bfree) * found.f_frsize / MIB
    size = used + found.f_bavail * found.f_frsize / MIB  # without what is reserved for root, as df does
    return (used, size) if used > 0 and size > used else (None, None)


def _read(path: str) -> str:
    """Return the text of a file; empty: not readable."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(file, READ_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(file)


def _pairs(text: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _int(text: str) -> int | None:
    """Return a number that is not negative (-1: no limit)."""
    return int(text) if text.isascii() and text.isdigit() else None


def _kib(text: str | None) -> float | None:
    """Return MiB of a value of /proc/meminfo: `24684092 kB`."""
    number = _int((text or "").partition(" ")[0])
    return None if number is None else number / KIB_PER_MIB
