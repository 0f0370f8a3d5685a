"""`%modal_gpu gpus`: the GPU catalog as a table. All facts come from `catalog.gpus`."""

from __future__ import annotations

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import GPUS, Gpu
from modal_gpu_magic.plan.machine.quote import UNKNOWN
from modal_gpu_magic.plan.table import Column, Row, Table

COLUMNS = (
    Column("GPU"),
    Column("VRAM", right=True),
    Column("max", right=True),
    Column("$/h", right=True),
    Column("seen"),
    Column("architecture", width=18),
    Column("GB/s", right=True),
    Column("best for"),
)


def gpu_table() -> Table:
    """Return a table of all GPUs that Modal offers."""
    foot = "$/h: price of one GPU in any region, seen that day. GB/s: memory bandwidth. max: in one container."
    return Table(COLUMNS, tuple(_row(gpu) for gpu in GPUS.values()), (foot,))


def _row(gpu: Gpu) -> Row:
    prices = rates.current()
    cells = (
        gpu.name,
        f"{gpu.vram_gb} GB",
        str(gpu.max_count),
        f"{(prices.gpu(gpu.name) or 0.0) * 3600:.2f}",
        gpu.price_date if prices.source == rates.LIST else prices.date,
        gpu.architecture,
        f"{gpu.bandwidth_gbps:,}",
        gpu.best_for or UNKNOWN,
    )
    return Row(cells, gpu.notes)
