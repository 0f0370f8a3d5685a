"""Recommend GPUs for a model: by the reference's guidelines, then by arithmetic whose formula is shown.

`catalog.guidelines` has the guidelines; `ui.magics.advice` prints the rows. The arithmetic is an estimate: batch size,
sequence length and library change the real need by more than the rounding. `ranking` is the only place that orders
GPUs: `recommend` and the picker's cards both take its order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import GPUS, Gpu, find
from modal_gpu_magic.catalog.guidelines import Guideline, guideline
from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.line.models import BYTES, Dtype, Task, read_dtype, read_model, read_task, write_model
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.clusters import has_rdma, refusal
from modal_gpu_magic.plan.machine.quote import quote, rate
from modal_gpu_magic.plan.table import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Self

TRAINED_BYTES = 16
"""Bytes of one trained weight: mixed precision 2 + 2 gradient + 4 master + 8 Adam; fp32 4 + 4 gradient + 8 Adam."""

ADAPTERS = 0.01
"""Fraction of LoRA's trained weights: rank 16 on every linear layer is 0.3 to 0.7 %, rounded up."""

MARGIN = 0.2
"""Additional fraction: KV cache and activations of inference, activations of training with checkpointing."""

_BESIDE: Mapping[Task, str] = MappingProxyType(
    {
        "inference": "KV cache and activations",
        "lora": "activations",
        "full": "activations",
        "pretrain": "activations",
    }
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One GPU of the catalog, judged for an amount of memory.

    Attributes:
        spec: the GPUs of one node: as many as are needed, or a whole node if one node is too small.
        nodes: nodes that hold the model; 0: no number of nodes does.
        least: GPUs with enough memory, on all nodes together.
        reason: why the GPU is proposed, or why it is too small.
        guideline: the reference recommends this GPU for the task.
    """

    spec: GpuSpec
    nodes: int
    least: int
    reason: str = ""
    guideline: bool = False

    @property
    def per_hour(self) -> float | None:
        """USD per hour for the GPUs of all nodes; None: unknown."""
        return per_hour(self.spec, max(self.nodes, 1))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One machine for a model.

    Attributes:
        spec: the GPUs, in a number with enough memory for the model.
        reason: short reason for the recommendation.
        need_gb: GB that the model needs by the arithmetic, on all GPUs together.
        formula: the arithmetic in words.
        per_hour: USD per hour for all GPUs, as `quote` has it; None: unknown.
        guideline: the reference recommends this GPU for the task.
    """

    spec: GpuSpec
    reason: str
    need_gb: float
    formula: str
    per_hour: float | None
    guideline: bool


class Recommendations(tuple[Recommendation, ...]):  # noqa: SLOT001 - a tuple with slots cannot have a field
    """The result of `recommend`: a tuple, the best first, shown in a notebook as a table with the formula.

    Attributes:
        subject: the request, `13B lora in bf16`.
    """

    subject: str

    def __new__(cls, rows: Iterable[Recommendation], subject: str) -> Self:
        """Create the tuple with its subject."""
        made = super().__new__(cls, rows)
        made.subject = subject
        return made

    def __getnewargs__(self) -> tuple[tuple[Recommendation, ...], str]:
        """Pickle the rows with the subject."""
        return tuple(self), self.subject

    @property
    def table(self) -> Table:
        """A table of GPUs, prices and reasons, with the formula and the date of the prices."""
        columns = (Column("GPU"), Column("VRAM", right=True), Column("price", right=True), Column("why"))
        rows = tuple(Row((str(row.spec), f"{row.spec.vram_gb:,} GB", rate(row.per_hour), row.reason)) for row in self)
        now = rates.current().words
        foot = (f"{self.subject}: {self[0].formula}.", f"{now[0].upper()}{now[1:]}.")
        return Table(columns, rows, foot)

    def __repr__(self) -> str:
        """The table as text."""
        return self.table.text()

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        return self.table.html()


def recommend(
    model: str | float, task: Task = "inference", dtype: Dtype = "bf16", budget: float | None = None
) -> Recommendations:
    """Return machines with enough memory for a model: the reference's GPUs first, then others, the cheapest first.

    Args:
        model: size of the model, `13B`, `350M`, or the number of parameters.
        task: `inference`; `lora`: train adapters; `full`: train every weight; `pretrain`: train from scratch.
        dtype: type of the weights; trained weights are `bf16`, `fp16` or `fp32`.
        budget: largest price of the GPUs, USD per hour; None: any.

    Raises:
        LineError: invalid size, task, dtype or budget; the message has the nearest valid word.
        MachineError: no machine has enough memory, or none is within the budget; the message has the nearest.
    """
    params, task, dtype = read_model(model), read_task(task), read_dtype(dtype)
    need, formula = memory(params, task, dtype)
    rows = [
        Recommendation(each.spec, each.reason, need, formula, each.per_hour, each.guideline)
        for each in ranking(params, task, dtype)
        if each.nodes == 1 and each.spec.gpu is not None and each.spec.gpu.pinned
    ]
    if not rows:
        raise MachineError(_too_large(params, task, dtype, need))
    return Recommendations(_affordable(rows, budget), f"{write_model(params)} {task} in {dtype}")


def ranking(params: float, task: Task, dtype: Dtype = "bf16") -> tuple[Candidate, ...]:
    """Return every GPU of the catalog, the best for the model first.

    The reference's GPUs come first, in its order; then the others of which one node is enough, the cheapest first; then
    clusters, the cheapest first; then the GPUs that are too small, the cheapest first.

    Raises:
        LineError: weights of that dtype cannot be trained.
    """
    need, _ = memory(params, task, dtype)
    recommended = list(_recommended(guideline(task, params), params, need))
    names = {each.spec.name for each in recommended}
    others = [_computed(gpu, need) for gpu in GPUS.values() if gpu.name not in names]
    return tuple(_with_note(each, dtype) for each in (*recommended, *sorted(others, key=_place)))


def by_price() -> tuple[Candidate, ...]:
    """Return every GPU of the catalog, the cheapest first: the order without a model."""
    return tuple(sorted((Candidate(GpuSpec(name), 1, 1) for name in GPUS), key=_place))


def per_hour(spec: GpuSpec, nodes: int = 1) -> float | None:
    """Return USD per hour of `nodes` containers with these GPUs; None: unknown."""
    price = quote(spec).per_hour
    return None if price is None else price * nodes


def memory(params: float, task: Task, dtype: Dtype) -> tuple[float, str]:
    """Return the GB that a model needs for a task, and the formula in words.

    Raises:
        LineError: weights of that dtype cannot be trained.
    """
    size, weights = write_model(params), params * BYTES[dtype] / 1e9
    each = f"{size} × {BYTES[dtype]:g} byte{'' if BYTES[dtype] == 1 else 's'} = {gigabytes(weights)}"
    if task == "inference":
        held, terms = weights, f"{each} weights"
    elif task == "lora":
        adapters = params * ADAPTERS * TRAINED_BYTES / 1e9
        held = weights + adapters
        terms = f"{each} frozen weights + {ADAPTERS:.0%} adapters × {TRAINED_BYTES} bytes = {gigabytes(adapters)}"
    elif dtype in ("int8", "int4"):
        raise LineError(
            f"{dtype} weights cannot be trained ({task}); write bf16, or the task lora, which freezes them."
        )
    else:
        held = params * TRAINED_BYTES / 1e9
        terms = f"{size} × {TRAINED_BYTES} bytes = {gigabytes(held)} weights, gradients and Adam states"
    need = held * (1 + MARGIN)
    return need, f"{terms}, + {MARGIN:.0%} {_BESIDE[task]} = {gigabytes(need)}"


def _recommended(row: Guideline, params: float, need: float) -> Iterator[Candidate]:
    """Yield the GPUs of a guideline in a sufficient number, with reasons; too small GPUs are left out."""
    tie = f", which {write_model(params)} is counted in" if params in (13e9, 70e9) and row.least else ""
    for text in row.gpus:
        name, _, count = text.partition(":")
        gpu, written = find(name), int(count.rstrip("+") or 1)
        least = _count(gpu, need)
        if least > gpu.max_count:
            continue
        reason = f"the reference's {text} for {row.label!r}{tie}"
        if least > written:
            reason += f"; {least} of them, as {written} {'has' if written == 1 else 'have'} {gpu.vram_gb * written} GB"
        yield Candidate(GpuSpec(gpu.name, max(written, least)), 1, least, reason, guideline=True)


def _computed(gpu: Gpu, need: float) -> Candidate:
    """Judge a GPU by its memory: a part of a node, a cluster of nodes with RDMA, or too small."""
    least = _count(gpu, need)
    if least <= gpu.max_count:
        spec = GpuSpec(gpu.name, least)
        return Candidate(spec, 1, least, f"{spec.vram_gb:,} GB for the {gigabytes(need)} it needs")
    spec, nodes = GpuSpec(gpu.name, gpu.max_count), -(-least // gpu.max_count)
    node = spec.vram_gb or 0
    if has_rdma([spec]) and refusal([spec], nodes) is None:
        return Candidate(spec, nodes, least, f"{node * nodes:,} GB on {nodes} nodes for the {gigabytes(need)} it needs")
    return Candidate(spec, 0, least, f"too small: {gpu.max_count} have {node:,} GB")


def _place(each: Candidate) -> tuple[bool, bool, float, bool]:
    """Return the sort key of `ranking`. Of two GPUs with one price, the name that means one GPU comes first."""
    price, gpu = each.per_hour if each.nodes else per_hour(GpuSpec(each.spec.name)), each.spec.gpu
    return each.nodes == 0, each.nodes > 1, float("inf") if price is None else price, gpu is None or not gpu.pinned


def _count(gpu: Gpu, need: float) -> int:
    """Return the number of GPUs that have `need` GB of memory, by nominal size."""
    return max(1, -int(-need // gpu.vram_gb))


def _affordable(rows: list[Recommendation], budget: float | None) -> list[Recommendation]:
    if budget is None:
        return rows
    if not budget > 0:
        raise LineError(f"A budget must be above 0 dollars per hour, such as 5; not {budget:g}.")
    within = [row for row in rows if row.per_hour is not None and row.per_hour <= budget]
    if within:
        return within
    cheapest = min(rows, key=lambda row: float("inf") if row.per_hour is None else row.per_hour)
    raise MachineError(
        f"No machine with enough memory costs ${budget:g}/h or less; "
        f"the cheapest is {cheapest.spec} at {rate(cheapest.per_hour)}."
    )


def _too_large(params: float, task: Task, dtype: Dtype, need: float) -> str:
    most = max((GpuSpec(gpu.name, gpu.max_count) for gpu in GPUS.values() if gpu.pinned), key=lambda s: s.vram_gb or 0)
    frozen = "a smaller dtype such as int4" if task in ("inference", "lora") else "the task lora"
    first = ranking(params, task, dtype)[0]
    cluster = f"a cluster such as {first.spec} --nodes {first.nodes}, " if first.nodes else ""
    return (
        f"{write_model(params)} for {task} needs {gigabytes(need)}, and one container has {most.vram_gb:,} GB at most "
        f"({most}); try {cluster}{frozen}, or a smaller model."
    )


def _with_note(each: Candidate, dtype: Dtype) -> Candidate:
    """Add the remark about a GPU without bf16, which needs compute capability 8."""
    gpu = each.spec.gpu
    old = dtype == "bf16" and gpu is not None and float(gpu.compute_capability.split()[0]) < 8  # noqa: PLR2004
    return replace(each, reason=f"{each.reason}; no bf16, use fp16") if old and each.nodes else each


def gigabytes(amount: float) -> str:
    """Format an amount of GB: `26 GB`, `0.84 GB`."""
    if amount < 0.01:  # noqa: PLR2004 - what two decimals can show
        return "under 0.01 GB"
    return f"{amount:,.0f} GB" if amount >= 10 else f"{amount:.2g} GB"  # noqa: PLR2004
