"""GPUs: is a request one that Modal takes, and which real devices of this machine serve it.

Where the machine has no NVIDIA driver, GPUs are simulated: any number of them, shown by `smi_program`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.refusals import Invalid

if TYPE_CHECKING:
    from modal_gpu_magic.line.spec import GpuSpec

SIMULATE = "MODAL_GPU_SIMULATE"
"""Set to 1 to simulate GPUs on a machine that has some, to ask for more than there are."""


def checked(gpu_type: str, count: int) -> GpuSpec | None:
    """The request, if Modal has such a GPU in that number; None when no GPU is asked for.

    Raises Invalid with the catalog's own sentence otherwise. (Modal's client checks neither.)
    """
    if not gpu_type:
        return None
    from modal_gpu_magic.errors import LineError
    from modal_gpu_magic.line.spec import GpuSpec

    try:
        return GpuSpec.parse(f"{gpu_type}:{count}")
    except LineError as error:
        raise Invalid(error.message) from None


class Rack:
    """The machine's real GPUs, allotted by count. `size` is 0 when they are simulated, None to find that out."""

    def __init__(self, size: int | None = None) -> None:
        self._surveyed = size is not None
        self.size = size or 0
        self._free = list(range(self.size))

    @property
    def simulated(self) -> bool:
        """No real device is used."""
        return self.size == 0

    async def survey(self, request: GpuSpec, nodes: int = 1) -> None:
        """Count the devices, the first time, and refuse what this machine can never serve to `nodes` containers."""
        if not self._surveyed:
            self._surveyed = True
            self.size = await asyncio.to_thread(devices_of_this_machine)
            self._free = list(range(self.size))
        asked = request.count * nodes
        if 0 < self.size < asked:
            raise Invalid(
                f"{request}{f' on {nodes} nodes' if nodes > 1 else ''} asks for {asked} GPUs and this machine has "
                f"{self.size}. Ask for {self.size}, or set {SIMULATE}=1 to run on the CPU with simulated GPUs."
            )

    def take(self, count: int, containers: int) -> list[tuple[int, ...]] | None:
        """Devices for each of `containers`, `count` a container; None while they are taken."""
        if self.simulated or count == 0:
            return [()] * containers
        if len(self._free) < count * containers:
            return None
        taken, self._free = self._free[: count * containers], self._free[count * containers :]
        return [tuple(taken[start : start + count]) for start in range(0, len(taken), count)]

    def give_back(self, devices: tuple[int, ...]) -> None:
        """The devices of a container that ended."""
        self._free = sorted({*self._free, *devices})


def driver() -> str | None:
    """NVIDIA's program on this machine; None without one, or where GPUs are to be simulated in spite of it."""
    return None if os.environ.get(SIMULATE) == "1" else shutil.which("nvidia-smi")


def devices_of_this_machine() -> int:
    """Number of GPUs that the NVIDIA driver lists; 0 without a driver, or when simulation is asked for."""
    program = driver()
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())
