"""The table of the GPUs that Modal accepts, with the sources of the facts. No grammar, no choice of a GPU.

Sources:
  VRAM, maximum count, best-for of the nine rows with `in_reference`: Modal's GPU reference, word for word.
  Accepted names, counts, upgrades: modal.com/docs/guide/gpu.
  Prices: modal.com/pricing, per GPU, base rate, as last seen on the row's date.
  nvidia-smi names and memory: printed inside Modal containers, published 2026-09-26.
  Compute capability: developer.nvidia.com/cuda-gpus. Bandwidth: NVIDIA's product pages, 2026-10.
  bf16: dense datasheet peaks, github.com/stas00/ml-engineering, 2026-08.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import UnknownGpuError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRICING = "modal.com/pricing"
"""Source of all GPU prices."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One name that Modal's `gpu=` accepts.

    Attributes:
        name: the name that is sent to Modal.
        vram_gb: nominal memory of one GPU, GB (nvidia-smi shows a little less).
        max_count: largest number of GPUs in one container.
        best_for: text of the reference; text of this package if `in_reference` is false.
        architecture: NVIDIA's name of the generation.
        compute_capability: as PyTorch prints it, `9.0`.
        bandwidth_gbps: memory bandwidth, GB/s.
        bf16_tflops: dense bf16 peak, TFLOP/s; None: not supported or not published.
        price_per_second: USD per second for one GPU.
        price_date: day on which the price was checked, ISO 8601.
        price_source: source of the price.
        aliases: other names for the same request.
        nvidia_smi_name: name that nvidia-smi prints; None: the name means one of several GPUs.
        nvidia_smi_memory_mib: memory that nvidia-smi prints, MiB.
        form: board and links between GPUs.
        notes: other facts for users.
        strict: Modal accepts `NAME!`, which prevents an upgrade.
        in_reference: the GPU is a row of Modal's GPU reference.
        gives: the GPUs that Modal may provide for this request; only its own name if the GPU is pinned.
        cuda: CUDA version that Modal asks for, as text; empty: any of 12.x and 13.x.
        rdma: Modal links nodes with this GPU by RDMA (modal.com/docs/guide/multi-node-clusters).
    """

    name: str
    vram_gb: int
    max_count: int
    best_for: str
    architecture: str
    compute_capability: str
    bandwidth_gbps: int
    bf16_tflops: int | None
    price_per_second: float
    price_date: str
    price_source: str = PRICING
    aliases: tuple[str, ...] = ()
    nvidia_smi_name: str | None = None
    nvidia_smi_memory_mib: int | None = None
    form: str = ""
    notes: str = ""
    strict: bool = False
    in_reference: bool = True
    gives: tuple[str, ...] = ()
    cuda: str = ""
    rdma: bool = False

    def __post_init__(self) -> None:
        """Set the default of `gives` to the name."""
        if not self.gives:
            object.__setattr__(self, "gives", (self.name,))

    @property
    def price_per_hour(self) -> float:
        """USD per hour for one GPU."""
        return self.price_per_second * 3600

    @property
    def pinned(self) -> bool:
        """Whether the name means one GPU, not one of several (`A100`, `B200+`)."""
        return self.name in self.gives


# fmt: off
_ROWS = (
    Gpu("T4", 16, 8, "Budget inference, light training", "Turing", "7.5", 320, None, 0.000164, "2026-09-01",
        nvidia_smi_name="Tesla T4", nvidia_smi_memory_mib=15360, form="PCIe, no NVLink",
        notes="No bf16 tensor cores; fp16 peaks at 65 TFLOP/s."),
    Gpu("L4", 24, 8, "Inference", "Ada Lovelace", "8.9", 300, 121, 0.000222, "2026-09-01",
        nvidia_smi_name="NVIDIA L4", nvidia_smi_memory_mib=23034, form="PCIe, no NVLink"),
    Gpu("A10", 24, 4, "Inference, light training", "Ampere", "8.6", 600, 125, 0.000306, "2026-09-01",
        aliases=("A10G",), nvidia_smi_name="NVIDIA A10", nvidia_smi_memory_mib=23028, form="PCIe, no NVLink",
        notes="A10G, its older name at Modal, gives the same GPU."),
    Gpu("A100-40GB", 40, 8, "Training, large model inference", "Ampere", "8.0", 1555, 312, 0.000583, "2026-10-07",
        nvidia_smi_name="NVIDIA A100-SXM4-40GB", nvidia_smi_memory_mib=40960, form="SXM4, NVLink",
        notes="Pins 40 GB; A100 costs the same and may get 80 GB."),
    Gpu("A100-80GB", 80, 8, "Large models, distributed training", "Ampere", "8.0", 2039, 312, 0.000694, "2026-10-07",
        nvidia_smi_name="NVIDIA A100-SXM4-80GB", nvidia_smi_memory_mib=81920, form="SXM4, NVLink"),
    Gpu("L40S", 48, 8, "Best cost/performance ratio", "Ada Lovelace", "8.9", 864, 362, 0.000542, "2026-10-07",
        nvidia_smi_name="NVIDIA L40S", nvidia_smi_memory_mib=46068, form="PCIe, no NVLink, no MIG",
        notes="Modal's guide starts here for inference."),
    Gpu("H100", 80, 8, "High-performance training", "Hopper", "9.0", 3350, 989, 0.001097, "2026-10-07",
        nvidia_smi_name="NVIDIA H100 80GB HBM3", nvidia_smi_memory_mib=81559, form="SXM5, NVLink/NVSwitch",
        notes="May run on an H200 at the price of an H100; H100! prevents it.",
        strict=True, gives=("H100", "H200"), rdma=True),
    Gpu("H200", 141, 8, "Very large models", "Hopper", "9.0", 4800, 989, 0.001261, "2026-09-01",
        nvidia_smi_name="NVIDIA H200", nvidia_smi_memory_mib=143771, form="SXM, NVLink/NVSwitch", rdma=True),
    Gpu("B200", 192, 8, "Largest models, cutting-edge", "Blackwell", "10.0", 8000, 2250, 0.001736, "2026-09-01",
        nvidia_smi_name="NVIDIA B200", nvidia_smi_memory_mib=183359, form="SXM, NVLink/NVSwitch",
        notes="Of its 192 GB, 179 GiB are seen.", rdma=True),
    Gpu("A100", 40, 8, "Training that fits in 40 GB and can use 80 GB", "Ampere", "8.0", 1555, 312, 0.000583,
        "2026-10-07", form="SXM4, NVLink",
        notes="40 GB; Modal may give 80 GB at the same price. A100-40GB pins 40 GB.",
        in_reference=False, gives=("A100-40GB", "A100-80GB")),
    Gpu("RTX-PRO-6000", 96, 8, "Models of up to 96 GB on one PCIe card", "Blackwell (GB202)", "12.0", 1597, None,
        0.000842, "2026-09-01", nvidia_smi_name="NVIDIA RTX PRO 6000 Blackwell Server Edition",
        nvidia_smi_memory_mib=97887, form="PCIe, no NVLink",
        notes="Modal states no maximum count; 8, as for its other types, is our assumption. "
              "Needs builds for sm_120 (CUDA 12.8 or newer).",
        in_reference=False),
    Gpu("B200+", 192, 8, "A B200 or a B300, whichever is free first", "Blackwell / Blackwell Ultra", "10.0 or 10.3",
        8000, 2250, 0.001736, "2026-09-01", form="B200 or B300",
        notes="Always billed as a B200. Modal asks for CUDA 13.1 or newer.",
        in_reference=False, gives=("B200", "B300"), cuda="13.1", rdma=True),
    Gpu("B300", 288, 8, "Models that need the most memory", "Blackwell Ultra", "10.3", 8000, 2250, 0.001972,
        "2026-09-01", nvidia_smi_name="NVIDIA B300 SXM6 AC", nvidia_smi_memory_mib=275040, form="SXM6, NVLink/NVSwitch",
        notes="Modal asks for CUDA 13.1 or newer; torch 2.14.0+cu130 was seen to work.",
        in_reference=False, cuda="13.1", rdma=True),
)
# fmt: on

GPUS: Mapping[str, Gpu] = MappingProxyType({gpu.name: gpu for gpu in _ROWS})
"""Every GPU by the name Modal is sent: the reference's nine in its order, then what Modal takes beyond it."""

SMI_NAMES: Mapping[str, str] = MappingProxyType({gpu.nvidia_smi_name: gpu.name for gpu in _ROWS if gpu.nvidia_smi_name})
"""The name Modal is sent, by what nvidia-smi prints in Modal's containers."""

_BY_WORD = {word: gpu for gpu in _ROWS for word in (gpu.name, *gpu.aliases)}

_NOT_A_TYPE = {
    "ANY": "`any` has no known price; list the GPUs that you accept, such as L4 A10 T4.",
    "GB200": "GB200 is for reservations only; write B200 or B300.",
}


def lookup(name: str) -> Gpu | None:
    """Return the GPU of a name or alias in any case; None: unknown."""
    return _BY_WORD.get(name.upper())


def find(name: str) -> Gpu:
    """Return the GPU of a name or alias in any case.

    Raises:
        UnknownGpuError: the catalog has no such GPU; the message has the nearest names.
    """
    gpu = lookup(name)
    if gpu is None:
        raise unknown(name)
    return gpu


def unknown(name: str) -> UnknownGpuError:
    """Return the error for an unknown name, with the nearest names or all names."""
    if name.upper() in _NOT_A_TYPE:
        return UnknownGpuError(_NOT_A_TYPE[name.upper()], name, 0, len(name))
    near = nearest(name, GPUS)
    way_out = f"did you mean {either(near)}?" if near else f"Modal has {', '.join(GPUS)}."
    return UnknownGpuError(f"No GPU is called {name}; {way_out}", name, 0, len(name))


MEMORY_TOLERANCE = 0.1
"""Largest relative difference from the row's memory: boards of one type differ by 1 to 2 %."""


def recognise(smi_name: str, memory_mib: int | None) -> Gpu | None:
    """Return the catalog's GPU for a name from nvidia-smi; None: unknown.

    Names that Modal's containers print are in the table; another board of the same type (`NVIDIA A100-PCIE-40GB`,
    `NVIDIA A10G`) is recognised by the words of its name and by its memory, if given.
    """
    for gpu in _ROWS:
        if gpu.nvidia_smi_name == smi_name.strip():
            return gpu
    words = set(re.split(r"[^A-Z0-9]+", smi_name.upper()))
    alike = [gpu for gpu in _ROWS if gpu.nvidia_smi_memory_mib and _named_in(gpu, words)]
    if memory_mib is not None:
        alike = [gpu for gpu in alike if _memory_gap(gpu, memory_mib) <= MEMORY_TOLERANCE]
    return alike[0] if len(alike) == 1 else None


def _named_in(gpu: Gpu, words: set[str]) -> bool:
    """Whether a name of the GPU, its memory aside, is among the words nvidia-smi printed."""
    names = (gpu.name, *gpu.aliases)
    return any({part for part in name.split("-") if not part.endswith("GB")} <= words for name in names)


def _memory_gap(gpu: Gpu, memory_mib: int) -> float:
    seen = gpu.nvidia_smi_memory_mib or 0
    return abs(memory_mib - seen) / seen if seen else 1.0
