"""The simulated nvidia-smi of a container: answers for the GPUs that were asked for, on a machine that has none.

Runs as a plain file, standard library only: `python smi_program.py LISTING [nvidia-smi's own arguments]`.

Honest about what it measures: `utilization.gpu` is the processor time of the container's processes as a share of this
machine's cores, `memory.used` their resident memory, shared out over the GPUs. What is not measured is `[N/A]`, and the
driver is called `simulated`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

DRIVER = "simulated"
NOT_AVAILABLE = "[N/A]"
FIRST_WINDOW = 0.1
"""Seconds over which the first reading measures; later ones measure since the one before."""


@dataclass(frozen=True)
class Gpu:
    """One simulated GPU as it is now."""

    index: int
    name: str
    uuid: str
    memory_mib: int
    used_mib: int
    utilization: int


Row = Callable[[Gpu, datetime, int], str]

MIB = "MiB"
PERCENT = "%"

FIELDS: dict[str, tuple[str, Row]] = {
    "timestamp": ("", lambda gpu, now, count: now.strftime("%Y/%m/%d %H:%M:%S.%f")[:-3]),
    "driver_version": ("", lambda gpu, now, count: DRIVER),
    "count": ("", lambda gpu, now, count: str(count)),
    "name": ("", lambda gpu, now, count: gpu.name),
    "index": ("", lambda gpu, now, count: str(gpu.index)),
    "uuid": ("", lambda gpu, now, count: gpu.uuid),
    "pci.bus_id": ("", lambda gpu, now, count: f"00000000:{gpu.index + 1:02X}:00.0"),
    "memory.total": (MIB, lambda gpu, now, count: str(gpu.memory_mib)),
    "memory.used": (MIB, lambda gpu, now, count: str(gpu.used_mib)),
    "memory.free": (MIB, lambda gpu, now, count: str(gpu.memory_mib - gpu.used_mib)),
    "memory.reserved": (MIB, lambda gpu, now, count: "0"),
    "utilization.gpu": (PERCENT, lambda gpu, now, count: str(gpu.utilization)),
    "utilization.memory": (PERCENT, lambda gpu, now, count: str(100 * gpu.used_mib // gpu.memory_mib)),
}
"""Query field -> unit and value. The fields of `UNMEASURED` are valid, too, and have no value."""

UNMEASURED = {
    **dict.fromkeys(("power.draw", "power.draw.average", "power.draw.instant", "power.limit"), "W"),
    **dict.fromkeys(("power.default_limit", "power.max_limit", "power.min_limit", "enforced.power.limit"), "W"),
    **dict.fromkeys(("clocks.current.graphics", "clocks.current.sm", "clocks.current.memory"), "MHz"),
    **dict.fromkeys(("clocks.max.graphics", "clocks.max.sm", "clocks.max.memory", "clocks.current.video"), "MHz"),
    "fan.speed": PERCENT,
    "utilization.encoder": PERCENT,
    "utilization.decoder": PERCENT,
    **dict.fromkeys(("temperature.gpu", "temperature.memory", "pstate", "persistence_mode", "compute_mode"), ""),
    **dict.fromkeys(("mig.mode.current", "mig.mode.pending", "compute_cap", "serial", "vbios_version"), ""),
    **dict.fromkeys(("pcie.link.gen.current", "pcie.link.gen.max", "display_active", "display_mode"), ""),
    **dict.fromkeys(("pcie.link.width.current", "pcie.link.width.max", "ecc.mode.current", "ecc.mode.pending"), ""),
    **dict.fromkeys(("clocks_event_reasons.active", "clocks_throttle_reasons.active"), ""),
    **dict.fromkeys(("ecc.errors.corrected.volatile.total", "ecc.errors.uncorrected.volatile.total"), ""),
}

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


# ── readings


@dataclass(frozen=True)
class Load:
    """What a container's processes have used: seconds of processor time in all, bytes of memory now."""

    cpu_seconds: float
    resident: int


def family_load(leader: int) -> Load:
    """The load of a process, its group, and all that descends from it; less this program."""
    processes = list(_processes())
    parents = {pid: parent for pid, parent, _, _, _ in processes}
    members = {pid for pid, _, group, _, _ in processes if group == leader or _descends(pid, leader, parents)}
    members.discard(os.getpid())
    cpu = sum(seconds for pid, _, _, seconds, _ in processes if pid in members)
    resident = sum(size for pid, _, _, _, size in processes if pid in members)
    return Load(cpu, resident)


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != ancestor:
        pid = parents[pid]
    return pid == ancestor


def _processes() -> Iterator[tuple[int, int, int, float, int]]:
    """All processes: pid, parent, group, processor seconds, resident bytes."""
    if not os.path.isdir("/proc/self"):
        yield from _processes_by_ps()
        return
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stream:
                # proc(5): after the name in brackets come state, ppid, pgrp, ..., utime (12th), stime, ..., rss (22nd)
                fields = stream.read().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        seconds = (int(fields[11]) + int(fields[12])) / tick
        yield int(entry), int(fields[1]), int(fields[2]), seconds, int(fields[21]) * page


def _processes_by_ps() -> Iterator[tuple[int, int, int, float, int]]:
    """The same where there is no /proc (macOS)."""
    shown = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,rss=,time="], capture_output=True, text=True, check=False)
    for line in shown.stdout.splitlines():
        pid, parent, group, size, clock = line.split()
        seconds = 0.0
        for part in clock.replace("-", ":").split(":"):
            seconds = seconds * 60 + float(part)
        yield int(pid), int(parent), int(group), seconds, int(size) * 1024


class Sampler:
    """Readings of the listed GPUs."""

    def __init__(self, listing: str) -> None:
        with open(listing) as stream:
            described = json.load(stream)
        self._leader: int = described["leader"]
        self._gpus: list[dict[str, object]] = described["gpus"]
        self._container: str = described["container"]
        self._load, self._at = family_load(self._leader), time.monotonic()
        time.sleep(FIRST_WINDOW)

    def read(self) -> list[Gpu]:
        """The GPUs now. Their load is that since the last reading."""
        load, at = family_load(self._leader), time.monotonic()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        busy = max(0.0, load.cpu_seconds - self._load.cpu_seconds) / (at - self._at) / cores
        self._load, self._at = load, at
        return [self._gpu(index, busy, load.resident // len(self._gpus)) for index in range(len(self._gpus))]

    def _gpu(self, index: int, busy: float, resident: int) -> Gpu:
        total = int(str(self._gpus[index]["memory_mib"]))
        tail = "".join(f"{ord(letter):02x}" for letter in self._container[-6:])
        uuid = f"GPU-00000000-5157-0000-{index:04x}-{tail}"
        used, share = min(total, resident >> 20), min(100, round(100 * busy))
        return Gpu(index, str(self._gpus[index]["name"]), uuid, total, used, share)


# ── answers


class Wrong(Exception):  # noqa: N818 - it reads as what happened
    """The arguments cannot be served; what nvidia-smi would say."""


@dataclass
class Wanted:
    """The arguments, read."""

    listing: bool = False
    fields: tuple[str, ...] = ()
    header: bool = True
    units: bool = True
    every: float | None = None
    only: tuple[str, ...] = ()
    to_file: str | None = None


def read_arguments(arguments: Sequence[str]) -> Wanted:
    """nvidia-smi's arguments, as far as they mean something for a simulated GPU; raises Wrong for others."""
    wanted, formats = Wanted(), ""
    rest = iter(arguments)
    for word in rest:
        name, equals, given = word.partition("=")
        value = given if equals else None

        def needed(value: str | None = value, name: str = name) -> str:
            found = next(rest, None) if value is None else value
            if found is None:
                raise Wrong(f"Option {name} needs a value.")
            return found

        if name in ("-L", "--list-gpus"):
            wanted.listing = True
        elif name == "--query-gpu":
            wanted.fields = tuple(field.strip() for field in needed().split(",") if field.strip())
        elif name == "--format":
            formats = needed()
        elif name in ("-l", "--loop", "-lms", "--loop-ms"):
            wanted.every = _seconds(needed(), name)
        elif name in ("-i", "--id"):
            wanted.only = tuple(needed().split(","))
        elif name in ("-f", "--filename"):
            wanted.to_file = needed()
        else:
            raise Wrong(f"Invalid combination of input arguments. The simulated nvidia-smi does not know {name}.")
    _check(wanted, formats)
    return wanted


def _seconds(text: str, name: str) -> float:
    try:
        return float(text) / (1000 if name in ("-lms", "--loop-ms") else 1)
    except ValueError:
        raise Wrong(f"Value {text} of option {name} is not a number.") from None


def _check(wanted: Wanted, formats: str) -> None:
    """The query's format and fields; one unknown field fails the whole query, as it does in the real program."""
    parts = {part.strip() for part in formats.split(",") if part.strip()}
    if (wanted.fields and "csv" not in parts) or parts - {"csv", "noheader", "nounits"}:
        raise Wrong('"--format=" switch is missing or has an unsupported value: use csv[,noheader][,nounits].')
    wanted.header, wanted.units = "noheader" not in parts, "nounits" not in parts
    for field in wanted.fields:
        if ALIASES.get(field, field) not in {*FIELDS, *UNMEASURED}:
            raise Wrong(f'Field "{field}" is not a valid field to query.')


def csv_header(fields: Sequence[str]) -> str:
    """The head of a query's answer. It has units also under `nounits`, as the real one has."""
    return ", ".join(f"{name} [{unit}]" if (unit := _unit(name)) else name for name in map(_full, fields))


def csv_rows(gpus: Sequence[Gpu], fields: Sequence[str], units: bool, now: datetime) -> list[str]:
    """One line a GPU."""
    return [", ".join(_value(gpu, _full(field), units, now, len(gpus)) for field in fields) for gpu in gpus]


def _full(field: str) -> str:
    return ALIASES.get(field, field)


def _unit(field: str) -> str:
    return FIELDS[field][0] if field in FIELDS else UNMEASURED[field]


def _value(gpu: Gpu, field: str, units: bool, now: datetime, count: int) -> str:
    if field in UNMEASURED:
        return NOT_AVAILABLE
    unit, value = FIELDS[field]
    return f"{value(gpu, now, count)} {unit}" if unit and units else value(gpu, now, count)


def table(gpus: Sequence[Gpu], now: datetime) -> str:
    """The table that nvidia-smi shows without arguments."""
    rule = "+" + "-" * 89 + "+"
    columns = "|" + "-" * 41 + "+" + "-" * 24 + "+" + "-" * 22 + "|"
    head = f"NVIDIA-SMI {DRIVER:<23} Driver Version: {DRIVER:<14} CUDA Version: {'N/A':<9}"
    lines = [now.strftime("%a %b %e %H:%M:%S %Y"), rule, f"| {head:<87} |", columns]
    lines.append(f"| {'GPU  Name':<39} | {'Bus-Id':<22} | {'Volatile Uncorr. ECC':<20} |")
    lines.append(
        f"| {'Fan  Temp   Perf          Pwr:Usage/Cap':<39} | {'          Memory-Usage':<22} | {'GPU-Util  Compute M.':<20} |"
    )
    lines.append(columns.replace("-", "="))
    for gpu in gpus:
        bus = FIELDS["pci.bus_id"][1](gpu, now, len(gpus))
        memory = f"{gpu.used_mib:>7}MiB / {gpu.memory_mib:>6}MiB"
        lines.append(f"| {gpu.index:>3}  {gpu.name[:34]:<34} | {bus:<22} | {'N/A':>20} |")
        lines.append(
            f"| {'N/A   N/A    N/A              N/A / N/A':<39} | {memory:<22} | {f'{gpu.utilization}%':>8}  {'Default':>10} |"
        )
        lines.append(columns)
    note = "Simulated by modal_gpu_magic: processor share and memory of this container's processes."
    return "\n".join([*lines[:-1], rule, f"| {note:<87} |", rule])


def chosen(gpus: Sequence[Gpu], only: Sequence[str]) -> list[Gpu]:
    """The GPUs that `-i` names, by index or uuid; all without it."""
    found = [gpu for gpu in gpus if not only or str(gpu.index) in only or gpu.uuid in only]
    if not found:
        raise Wrong("No devices were found")
    return found


def answers(sampler: Sampler, wanted: Wanted) -> Iterator[str]:
    """What is to be printed, one text at a time; for ever in a loop."""
    first = True
    while True:
        started = time.monotonic()
        gpus, now = chosen(sampler.read(), wanted.only), datetime.now()  # noqa: DTZ005 - nvidia-smi has local time
        if wanted.listing:
            yield "\n".join(f"GPU {gpu.index}: {gpu.name} (UUID: {gpu.uuid})" for gpu in gpus)
        elif wanted.fields:
            head = [csv_header(wanted.fields)] if wanted.header and first else []
            yield "\n".join([*head, *csv_rows(gpus, wanted.fields, wanted.units, now)])
        else:
            yield table(gpus, now)
        if wanted.every is None:
            return
        first = False
        time.sleep(max(0.0, wanted.every - (time.monotonic() - started)))


def main(arguments: Sequence[str]) -> int:
    """Answer; the exit code is that of nvidia-smi (2: wrong arguments)."""
    listing, *own = arguments
    try:
        wanted = read_arguments(own)
        out = open(wanted.to_file, "w") if wanted.to_file else sys.stdout
        for text in answers(Sampler(listing), wanted):
            print(text, file=out, flush=True)
    except Wrong as wrong:
        print(wrong)
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
