"""A container's own CPU, memory, disk and network at one time: real also where the GPUs are simulated. Pure.

A value that is not known is None, never 0: gVisor, for example, reports counters that always are 0.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class HostSample:
    """The use of a container's machine by the container. None: unknown.

    Attributes:
        cpu: CPU time of the container's processes, % of the cores.
        cores: cores that the container may use.
        memory_used_mib: resident memory of the container's processes, MiB.
        memory_total_mib: memory that the container may use, MiB.
        disk_rate: bytes per second that the container's processes read from and write to disks.
        disk_used_mib: used space of the file system of the working directory, MiB.
        disk_total_mib: size of this file system, MiB.
        received: bytes per second that the network interfaces receive.
        sent: bytes per second that the network interfaces send.
    """

    cpu: float | None = None
    cores: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    disk_rate: float | None = None
    disk_used_mib: float | None = None
    disk_total_mib: float | None = None
    received: float | None = None
    sent: float | None = None

    def __post_init__(self) -> None:
        """Check that all numbers are finite and not negative.

        Raises:
            ValueError: a number is negative or not finite.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and not (isfinite(value) and value >= 0):
                raise ValueError(f"{each.name} is {value}; a sample must be finite and not negative, or None.")

    @property
    def row(self) -> tuple[float | None, ...]:
        """The values as a plain tuple, to send from the container to the kernel."""
        return astuple(self)

    @classmethod
    def of(cls, row: Sequence[float | None]) -> HostSample:
        """Create a sample from a row. A shorter row leaves values unknown; surplus values are ignored.

        Raises:
            ValueError: an invalid number.
        """
        return cls(*row[: len(fields(cls))])
