"""Facts of the picker's page: prices as texts, the order of GPUs for each model, and what a GPU's card says.

The page computes no price and orders no GPU. All texts with prices come from `quote`, all orders from `recommend`, and
travel with the widget: the page needs them while the kernel is busy. `js/src/offers.ts` has the same types.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.limits import CLUSTER_NODES
from modal_gpu_magic.catalog.prices import BROAD_FACTOR, NARROW_FACTOR, REGION_SOURCE
from modal_gpu_magic.line.models import read_model
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.clusters import refusal
from modal_gpu_magic.plan.machine.quote import rate
from modal_gpu_magic.plan.machine.recommend import by_price, gigabytes, memory, per_hour, ranking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modal_gpu_magic.catalog.gpus import Gpu
    from modal_gpu_magic.catalog.rates import Rates
    from modal_gpu_magic.line.models import Task
    from modal_gpu_magic.plan.machine.recommend import Candidate

SIZES = ("1B", "3B", "7B", "13B", "34B", "70B", "180B", "405B")
"""Model sizes to choose from: common sizes of open models."""
TASKS: tuple[tuple[Task, str], ...] = (
    ("inference", "Inference"),
    ("lora", "LoRA"),
    ("full", "Full"),
    ("pretrain", "Pre-train"),
)
NO_MODEL = ""
"""Key of the ranking without a model."""


def rows() -> list[dict[str, Any]]:
    """Return the GPUs with their facts and prices: `prices` of 1, 2, ... GPUs, `cluster_prices` of 2, 3, ... nodes."""
    return _rows(rates.current())


@lru_cache(maxsize=1)
def _rows(_prices: Rates) -> list[dict[str, Any]]:
    places: dict[float | None, int] = {price: place for place, price in enumerate(sorted(_all_prices()))}
    return [_row(gpu, places) for gpu in GPUS.values()]


def rankings() -> dict[str, Any]:
    """Return the order of all GPUs, by model and task; the order without a model is at `NO_MODEL`."""
    return _rankings(rates.current())


@lru_cache(maxsize=1)
def _rankings(_prices: Rates) -> dict[str, Any]:
    made: dict[str, Any] = {
        size: {task: _ranked(ranking(read_model(size), task)) for task, _ in TASKS} for size in SIZES
    }
    return {NO_MODEL: _ranked(by_price()), **made}


@cache
def needs() -> dict[str, dict[str, list[str]]]:
    """Return the memory that a model needs and the formula, as texts, by model and task."""
    return {size: {task: _need(size, task) for task, _ in TASKS} for size in SIZES}


def offers_json() -> str:
    """Return rows, rankings and needs as one text: a widget's state of lists is walked and copied at both ends."""
    return _offers_json(rates.current())


@lru_cache(maxsize=1)
def _offers_json(_prices: Rates) -> str:
    return json.dumps({"rows": rows(), "rankings": rankings(), "needs": needs()}, ensure_ascii=False)


def price_text(spec: GpuSpec, nodes: int = 1) -> str:
    """Return the price of an hour: `$7.90/h`."""
    return rate(per_hour(spec, nodes))


def region_text(spec: GpuSpec, nodes: int, factor: float) -> str:
    """Return the price of an hour in a pinned region, which multiplies it by `factor`: `$11.85/h`."""
    price = per_hour(spec, nodes)
    return rate(None if price is None else price * factor)


def _need(size: str, task: Task) -> list[str]:
    need, formula = memory(read_model(size), task, "bf16")
    return [gigabytes(need), f"{formula}."]


def _ranked(candidates: Iterable[Candidate]) -> list[list[Any]]:
    """Return candidates as `[name, count, nodes, least, reason]`, in their order."""
    return [[each.spec.name, each.spec.count, each.nodes, each.least, each.reason] for each in candidates]


def _row(gpu: Gpu, places: dict[float | None, int]) -> dict[str, Any]:
    single, cluster = _offers(gpu)
    return {
        "name": gpu.name,
        "vram": gpu.vram_gb,
        "max": gpu.max_count,
        "best": gpu.best_for,
        "strict": gpu.strict,
        "cluster": bool(cluster),
        "facts": [list(fact) for fact in _facts(gpu)],
        "prices": [_price(spec, nodes, places) for spec, nodes in single],
        "cluster_prices": [_price(spec, nodes, places) for spec, nodes in cluster],
    }


def _price(spec: GpuSpec, nodes: int, places: dict[float | None, int]) -> list[Any]:
    """Return `[price, price in a broad region, price in a narrow one, place]`; a larger place means a higher price."""
    regional = (region_text(spec, nodes, factor) for factor in (BROAD_FACTOR, NARROW_FACTOR))
    return [price_text(spec, nodes), *regional, places[per_hour(spec, nodes)]]


def _all_prices() -> set[float]:
    offers = [offer for gpu in GPUS.values() for group in _offers(gpu) for offer in group]
    return {price for spec, nodes in offers if (price := per_hour(spec, nodes)) is not None}


def _offers(gpu: Gpu) -> tuple[list[tuple[GpuSpec, int]], list[tuple[GpuSpec, int]]]:
    """Return everything that Modal offers with a GPU: numbers of GPUs on one node, and whole nodes of a cluster."""
    whole = GpuSpec(gpu.name, gpu.max_count)
    nodes = [number for number in range(2, CLUSTER_NODES + 1) if refusal((whole,), number) is None]
    single = [(GpuSpec(gpu.name, count), 1) for count in range(1, gpu.max_count + 1)]
    return single, [(whole, number) for number in nodes]


def _facts(gpu: Gpu) -> Iterator[tuple[str, str]]:
    """Yield what a card says on hover and focus, the date of the price last."""
    yield "Architecture", gpu.architecture
    yield "Compute capability", gpu.compute_capability
    yield "Memory bandwidth", f"{gpu.bandwidth_gbps:,} GB/s"
    yield "Interconnect", gpu.form + ("; RDMA between nodes" if gpu.rdma else "")
    if gpu.bf16_tflops is not None:
        yield "bf16", f"{gpu.bf16_tflops:,} TFLOP/s"
    if gpu.notes:
        yield "Note", gpu.notes
    one = GpuSpec(gpu.name)
    broad, narrow = (region_text(one, 1, factor) for factor in (BROAD_FACTOR, NARROW_FACTOR))
    yield "Price of one", f"{price_text(one)}; in a broad region {broad}, in a narrow one {narrow} ({REGION_SOURCE})"
    now = rates.current()
    yield "Price seen", f"{gpu.price_date}, {gpu.price_source}" if now.source == rates.LIST else now.words
