"""The number of GPUs for ranks, and whether the session's own process leaves enough GPU memory for the ranks."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.inspection.size import size_text
from modal_gpu_magic.wire.values.kinds import is_a

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_SESSION_SHARE: Final = 0.1
"""Largest share of a GPU's memory that the session may hold while ranks run on that GPU."""
LISTED_NAMES: Final = 5
"""Most names in a refusal, the largest values first."""
SMI_SECONDS: Final = 20
"""Seconds that nvidia-smi may take."""


def count() -> int:
    """Return the number of GPUs visible to new processes: by CUDA_VISIBLE_DEVICES, else by the driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip(", ")
    if visible:
        return len(visible.split(","))
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def make_room(namespace: Mapping[str, Any]) -> str | None:
    """Free this process's cached GPU memory. Return why ranks still lack memory; None: they have enough."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    gc.collect()
    torch.cuda.empty_cache()
    for device in range(torch.cuda.device_count()):
        held = torch.cuda.memory_allocated(device)
        total = torch.cuda.get_device_properties(device).total_memory
        reason = no_room(device, held, total, holdings(namespace))
        if reason:
            return reason
    return None


def no_room(device: int, held: int, total: int, names: Mapping[str, int]) -> str | None:
    """Return why ranks lack memory on a GPU of which the session holds `held` of `total` bytes; None: they do not."""
    if held <= total * LARGEST_SESSION_SHARE:
        return None
    largest = sorted(names, key=lambda name: -names[name])[:LISTED_NAMES]
    listed = ", ".join(f"{name} ({size_text(names[name])})" for name in largest)
    holders = f": {listed}" if listed else ""
    remedy = f"del {', '.join(largest)}" if largest else "--clean"
    return (
        f"the session itself holds {size_text(held)} of the {size_text(total)} of GPU {device}, which the ranks need"
        f"{holders}. Move it to the CPU or delete it first ({remedy} in a cell), or give the ranks another --session."
    )


def holdings(namespace: Mapping[str, Any]) -> dict[str, int]:
    """Return bytes of GPU memory by variable: of tensors, and of modules with their parameters and buffers."""
    found: dict[str, int] = {}
    torch: Any = sys.modules.get("torch")
    for name, value in namespace.items():
        if is_a(value, torch.Tensor):
            tensors = [value]
        elif is_a(value, torch.nn.Module):
            tensors = [*value.parameters(), *value.buffers()]
        else:
            continue
        nbytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_cuda)
        if nbytes:
            found[name] = nbytes
    return found
