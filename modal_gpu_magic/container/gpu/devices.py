"""The GPUs of this container: how many there are for ranks, and whether the session's own process leaves them room."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

MUCH: Final = 0.1
"""Part of a GPU's memory that the session may keep while ranks run on it."""
LISTED: Final = 5
"""Names in a refusal, the largest first."""
SMI_SECONDS: Final = 20


def count() -> int:
    """GPUs that programs started here will see: those CUDA is told of, else those the driver lists."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip(", ")
    if told:
        return len(told.split(","))
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def make_room(namespace: Mapping[str, Any]) -> str | None:
    """Give up what this process only caches on its GPUs. Returns why ranks have no room all the same, or None."""
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
    """Why ranks have no room on a GPU of which the session holds `held` of `total` bytes; None: they have."""
    if held <= total * MUCH:
        return None
    largest = sorted(names, key=lambda name: -names[name])[:LISTED]
    listed = ", ".join(f"{name} ({size_text(names[name])})" for name in largest)
    what = f": {listed}" if listed else ""
    way_out = f"del {', '.join(largest)}" if largest else "--clean"
    return (
        f"the session itself holds {size_text(held)} of the {size_text(total)} of GPU {device}, which the ranks need"
        f"{what}. Move it to the CPU or let it go first ({way_out} in a cell), or give the ranks another --session."
    )


def holdings(namespace: Mapping[str, Any]) -> dict[str, int]:
    """Bytes on GPUs by the name that holds them: of tensors, and of modules by their parameters and buffers."""
    found: dict[str, int] = {}
    torch: Any = sys.modules.get("torch")
    for name, value in namespace.items():
        if isinstance(value, torch.Tensor):
            tensors = [value]
        elif isinstance(value, torch.nn.Module):
            tensors = [*value.parameters(), *value.buffers()]
        else:
            continue
        nbytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_cuda)
        if nbytes:
            found[name] = nbytes
    return found
