"""GPUs: check requests against Modal's catalog, and assign this machine's devices.

Without an NVIDIA driver, GPUs are simulated in any number; `smi_program` reports them.
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
"""Set to 1 to simulate GPUs on a machine with GPUs, for example to request more than it has."""


ANY = "L4"
"""What stands for `any`, with which Modal gives an L4, an A10 or a T4."""


def checked(gpu_type: str, count: int) -> GpuSpec | None:
    """Return the GPU request; None if no GPU is requested. Modal's client checks neither GPU nor count.

    Raises:
        Invalid: Modal does not offer the GPU in this number.
    """
    if not gpu_type:
        return None
    from modal_gpu_magic.errors import LineError
    from modal_gpu_magic.line.spec import GpuSpec

    name = ANY if gpu_type.lower() == "any" else gpu_type
    try:
        return GpuSpec.parse(f"{name}:{count}")
    except LineError as error:
        raise Invalid(error.message) from None


class GpuPool:
    """The machine's GPUs, assigned by count. `size`: number of devices; 0: simulated; None: counted on first use."""

    def __init__(self, size: int | None = None) -> None:
        self._surveyed = size is not None
        self.size = size or 0
        self._free = list(range(self.size))

    @property
    def simulated(self) -> bool:
        """Whether GPUs are simulated."""
        return self.size == 0

    async def survey(self, request: GpuSpec, nodes: int = 1) -> None:
        """Count the devices once; raise Invalid if this machine cannot serve `request` on `nodes` containers."""
        if not self._surveyed:
            self._surveyed = True
            self.size = await asyncio.to_thread(devices_of_this_machine)
            self._free = list(range(self.size))
        asked = request.count * nodes
        if 0 < self.size < asked:
            raise Invalid(
                f"{request}{f' on {nodes} nodes' if nodes > 1 else ''} needs {asked} GPUs and this machine has "
                f"{self.size}. Request {self.size}, or set {SIMULATE}=1 to run on the CPU with simulated GPUs."
            )

    def take(self, count: int, containers: int) -> list[tuple[int, ...]] | None:
        """Return `count` devices for each of `containers`; None if too few are free."""
        if self.simulated or count == 0:
            return [()] * containers
        if len(self._free) < count * containers:
            return None
        taken, self._free = self._free[: count * containers], self._free[count * containers :]
        return [tuple(taken[start : start + count]) for start in range(0, len(taken), count)]

    def give_back(self, devices: tuple[int, ...]) -> None:
        """Release the devices of an ended container."""
        self._free = sorted({*self._free, *devices})


def driver() -> str | None:
    """Return the path of nvidia-smi; None without it, or if GPUs are simulated."""
    return None if os.environ.get(SIMULATE) == "1" else shutil.which("nvidia-smi")


def devices_of_this_machine() -> int:
    """Return the number of GPUs that the NVIDIA driver lists; 0 without a driver, or if GPUs are simulated."""
    program = driver()
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())
