# ruff: noqa: PTH112, PTH123, PTH208 - importing pathlib (or re, json, typing, dataclasses) would double the run time
"""The simulated nvidia-smi of a container on a machine without GPUs. Reports the GPUs that were requested.

Runs as a plain file with the standard library only: `python smi_program.py LISTING [nvidia-smi's arguments]`. The first
line of LISTING has the pid of the container's leading process and the container's id; each further line has a GPU:
name, tab, MiB.

`utilization.gpu` is the CPU time of the container's processes as a share of this machine's cores; `memory.used` is
their resident memory, divided among the GPUs. Other measures are `[N/A]`, and the driver version is `simulated`.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

DRIVER = "simulated"
NOT_AVAILABLE = "[N/A]"
FIRST_WINDOW = 0.1
"""Seconds that the first reading measures; later readings measure the time since the one before."""
CLOCK_TICKS_PER_SECOND, PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

MEASURED = {
    "timestamp": ("", "{now}"),
    "driver_version": ("", DRIVER),
    "count": ("", "{count}"),
    "name": ("", "{gpu.name}"),
    "index": ("", "{gpu.index}"),
    "uuid": ("", "{gpu.uuid}"),
    "pci.bus_id": ("", "{gpu.bus}"),
    "memory.total": ("MiB", "{gpu.total}"),
    "memory.used": ("MiB", "{gpu.used}"),
    "memory.free": ("MiB", "{gpu.free}"),
    "memory.reserved": ("MiB", "0"),
    "utilization.gpu": ("%", "{gpu.busy}"),
    "utilization.memory": ("%", "{gpu.full}"),
}
"""Query field -> unit, and template of the value."""

UNMEASURED = {
    "W": "power.draw power.draw.average power.draw.instant power.limit power.default_limit power.max_limit "
    "power.min_limit enforced.power.limit",
    "MHz": "clocks.current.graphics clocks.current.sm clocks.current.memory clocks.current.video clocks.max.graphics "
    "clocks.max.sm clocks.max.memory",
    "%": "fan.speed utilization.encoder utilization.decoder",
    "": "temperature.gpu temperature.memory pstate persistence_mode compute_mode compute_cap mig.mode.current "
    "mig.mode.pending serial vbios_version display_active display_mode pcie.link.gen.current pcie.link.gen.max "
    "pcie.link.width.current pcie.link.width.max ecc.mode.current ecc.mode.pending "
    "ecc.errors.corrected.volatile.total ecc.errors.uncorrected.volatile.total clocks_event_reasons.active "
    "clocks_throttle_reasons.active",
}
"""Unit -> fields that nvidia-smi has and the simulation does not measure."""

FIELDS = {**MEASURED, **{name: (unit, "") for unit, names in UNMEASURED.items() for name in names.split()}}

ALIASES = {
    "gpu_name": "name",
    "gpu_uuid": "uuid",
    "gpu_bus_id": "pci.bus_id",
    "gpu_serial": "serial",
    "clocks.gr": "clocks.current.graphics",
    "clocks.sm": "clocks.current.sm",
    "clocks.mem": "clocks.current.memory",
    "clocks.video": "clocks.current.video",
    "clocks.max.gr": "clocks.max.graphics",
    "clocks.max.mem": "clocks.max.memory",
}


class Wrong(Exception):  # noqa: N818 - named after the event
    """The arguments are wrong; the message is nvidia-smi's."""


# ── readings


class Gpu:
    """One simulated GPU at one time; memory in MiB, other measures in percent."""

    def __init__(self, index: int, name: str, container: str, total: int, used: int, busy: int) -> None:
        tail = "".join(f"{ord(letter):02x}" for letter in container[-6:])
        self.index, self.name, self.uuid = index, name, f"GPU-00000000-5157-0000-{index:04x}-{tail}"
        self.bus = f"00000000:{index + 1:02X}:00.0"
        self.total, self.used, self.free = total, used, total - used
        self.busy, self.full = busy, 100 * used // total


class Row:
    """One process: pid, parent, process group, CPU seconds, resident bytes."""

    def __init__(self, pid: int, parent: int, group: int, seconds: float, resident: int) -> None:
        self.pid, self.parent, self.group, self.seconds, self.resident = pid, parent, group, seconds, resident


def processes(known: Container[int] = ()) -> tuple[set[int], list[Row]]:
    """Return all pids, and the rows of processes that are not in `known`, since reading a row is slower."""
    if not os.path.isdir("/proc/self"):
        rows = _processes_by_ps()
        return {row.pid for row in rows}, rows
    pids = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    return pids, [row for pid in pids if pid not in known and (row := _row(pid))]


def _row(pid: int) -> Row | None:
    """Read /proc/PID/stat (proc(5)): after the name: state, ppid, pgrp, ..., utime (12th), stime, ..., rss (22nd)."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:  # ended meanwhile
        return None
    try:
        fields = os.read(file, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    finally:
        os.close(file)
    seconds = (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_SECOND
    return Row(pid, int(fields[1]), int(fields[2]), seconds, int(fields[21]) * PAGE_BYTES)


def _processes_by_ps() -> list[Row]:
    """Read the rows by `ps`, on systems without /proc (macOS)."""
    import subprocess

    command = ["/bin/ps", "-axo", "pid=,ppid=,pgid=,rss=,time="]
    rows = []
    for line in subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines():
        pid, parent, group, size, clock = line.split()
        seconds = 0.0
        for part in clock.replace("-", ":").split(":"):
            seconds = seconds * 60 + float(part)
        rows.append(Row(int(pid), int(parent), int(group), seconds, int(size) * 1024))
    return rows


class Family:
    """A process, its process group and its descendants, except this process; measured repeatedly.

    A process once seen outside the family stays outside, so a measurement reads only the family and new processes.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._members: dict[int, float] = {}
        self._outsiders: set[int] = {os.getpid()}

    def look(self) -> tuple[float, int]:
        """Return the family's CPU seconds since the last call, and its resident bytes now."""
        pids, rows = processes(self._outsiders)
        parents = {row.pid: row.parent for row in rows}
        family = [row for row in rows if row.pid not in self._outsiders and self._belongs(row, parents)]
        spent = sum(row.seconds - self._members.get(row.pid, 0.0) for row in family)
        self._members = {row.pid: row.seconds for row in family}
        self._outsiders = {os.getpid(), *(pids - self._members.keys())}
        return spent, sum(row.resident for row in family)

    def _belongs(self, row: Row, parents: dict[int, int]) -> bool:
        if row.group == self._leader or row.pid in self._members:
            return True
        pid = row.pid
        while pid in parents and pid != self._leader:
            pid = parents[pid]
        return pid == self._leader


class Sampler:
    """Readings of the listed GPUs."""

    def __init__(self, listing: str) -> None:
        with open(listing) as stream:
            head, *rows = stream.read().splitlines()
        leader, self._container = head.split()
        self._family = Family(int(leader))
        self._gpus = [(name, int(total)) for name, _, total in (row.partition("\t") for row in rows)]
        self._family.look()
        self._at = time.monotonic()
        time.sleep(FIRST_WINDOW)

    def read(self) -> list[Gpu]:
        """Return the GPUs now, with their load since the last reading."""
        (seconds, resident), at = self._family.look(), time.monotonic()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = seconds / (at - self._at) / cores
        self._at = at
        each = (resident >> 20) // len(self._gpus)
        return [
            Gpu(index, name, self._container, total, min(each, total), min(100, round(100 * share)))
            for index, (name, total) in enumerate(self._gpus)
        ]


# ── arguments


class Wanted:
    """The parsed arguments of one invocation; raises Wrong for unsupported ones."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.listing = False
        self.fields: list[str] = []
        self.formats: set[str] = set()
        self.only: list[str] = []
        self.every: float | None = None
        self.file: str | None = None
        words = iter(arguments)
        for word in words:
            name, equals, given = word.partition("=")
            if name in ("-L", "--list-gpus"):
                self.listing = True
                continue
            value = given if equals else next(words, None)
            if value is None:
                raise Wrong(f"Option {name} needs a value, or is not known to the simulated nvidia-smi.")
            self._set(name, value)
        self._check()

    def _set(self, name: str, value: str) -> None:
        if name == "--query-gpu":
            self.fields = _split(value)
        elif name == "--format":
            self.formats = set(_split(value))
        elif name in ("-l", "--loop", "-lms", "--loop-ms"):
            if not value.isdigit():
                raise Wrong(f"Value {value} of option {name} is not a number.")
            self.every = int(value) / (1000 if name in ("-lms", "--loop-ms") else 1)
        elif name in ("-i", "--id"):
            self.only = _split(value)
        elif name in ("-f", "--filename"):
            self.file = value
        else:
            raise Wrong(f"Invalid combination of input arguments: the simulated nvidia-smi does not know {name}.")

    def _check(self) -> None:
        """Reject a query with an unknown field, as nvidia-smi does."""
        if self.formats - {"csv", "noheader", "nounits"} or (self.fields and "csv" not in self.formats):
            raise Wrong('"--format=" switch is missing or has an unsupported value: csv[,noheader][,nounits].')
        for field in self.fields:
            if ALIASES.get(field, field) not in FIELDS:
                raise Wrong(f'Field "{field}" is not a valid field to query.')
        self.fields = [ALIASES.get(field, field) for field in self.fields]


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


# ── answers


def csv_header(fields: Sequence[str]) -> str:
    """Return the header of a query's answer. As in nvidia-smi, it has units even with `nounits`."""
    return ", ".join(f"{field} [{FIELDS[field][0]}]" if FIELDS[field][0] else field for field in fields)


def csv_row(gpu: Gpu, fields: Sequence[str], now: str, count: int, suffix: str) -> str:
    """Return the line of one GPU. `suffix` follows values with a unit: `" {unit}"` or nothing."""
    values = []
    for unit, template in (FIELDS[field] for field in fields):
        value = template.format(gpu=gpu, now=now, count=count) or NOT_AVAILABLE
        values.append(value + suffix.format(unit=unit) if unit and template else value)
    return ", ".join(values)


def table(gpus: Sequence[Gpu], now: str) -> str:
    """Return the table that nvidia-smi prints without arguments."""
    rule, columns = f"+{'-' * 89}+", f"|{'-' * 41}+{'-' * 24}+{'-' * 22}|"
    note = "Simulated by modal_gpu_magic: CPU load and memory of this container's processes."
    lines = [
        now,
        rule,
        f"| {f'NVIDIA-SMI {DRIVER:<24} Driver Version: {DRIVER:<13} CUDA Version: N/A':<87} |",
        columns,
        f"| {'GPU  Name':<39} | {'Bus-Id':<22} | {'Volatile Uncorr. ECC':<20} |",
        f"| {'Fan  Temp   Perf          Pwr:Usage/Cap':<39} | {'Memory-Usage':>22} | {'GPU-Util  Compute M.':<20} |",
        columns.replace("-", "="),
    ]
    for gpu in gpus:
        memory = f"{gpu.used}MiB / {gpu.total:>6}MiB"
        lines += [
            f"| {gpu.index:>3}  {gpu.name[:34]:<34} | {gpu.bus:<22} | {'N/A':>20} |",
            f"| {'N/A   N/A    N/A              N/A / N/A':<39} | {memory:>22} | {f'{gpu.busy}%':>8} {'N/A':>11} |",
            columns,
        ]
    return "\n".join([*lines[:-1], rule, f"| {note:<87} |", rule])


def answers(sampler: Sampler, wanted: Wanted) -> Iterator[str]:
    """Yield the texts to write; without end in a loop."""
    header = bool(wanted.fields) and "noheader" not in wanted.formats
    suffix = "" if "nounits" in wanted.formats else " {unit}"
    while True:
        started, wall = time.monotonic(), time.time()
        gpus = [
            gpu for gpu in sampler.read() if not wanted.only or str(gpu.index) in wanted.only or gpu.uuid in wanted.only
        ]
        now = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(wall)) + f".{int(wall * 1000) % 1000:03d}"
        if not gpus:
            raise Wrong("No devices were found")
        if wanted.listing:
            yield "\n".join(f"GPU {gpu.index}: {gpu.name} (UUID: {gpu.uuid})" for gpu in gpus)
        elif wanted.fields:
            rows = [csv_row(gpu, wanted.fields, now, len(gpus), suffix) for gpu in gpus]
            yield "\n".join([csv_header(wanted.fields), *rows] if header else rows)
        else:
            yield table(gpus, time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(wall)))
        if wanted.every is None:
            return
        header = False
        time.sleep(max(0.0, wanted.every - (time.monotonic() - started)))


def main(listing: str, *arguments: str) -> int:
    """Run the program; return nvidia-smi's exit code (2: wrong arguments)."""
    try:
        wanted = Wanted(arguments)
        descriptor = os.open(wanted.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666) if wanted.file else 1
        for text in answers(Sampler(listing), wanted):
            os.write(descriptor, f"{text}\n".encode())
    except Wrong as wrong:
        os.write(1, f"{wrong}\n".encode())
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
