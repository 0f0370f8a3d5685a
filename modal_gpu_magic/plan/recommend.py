"""Which GPUs a model needs: the reference's guidelines where they speak, then arithmetic whose formula is shown.

What the reference says is `catalog.guidelines`; how rows are printed is `ui.advice`. The arithmetic is an estimate for
choosing a machine: batch size, sequence length and the library used move the real need by more than its rounding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from modal_gpu_magic.catalog.gpus import GPUS, Gpu, find
from modal_gpu_magic.catalog.guidelines import Guideline, guideline
from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.line.spec import GpuSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Task: TypeAlias = Literal["inference", "lora", "full", "pretrain"]
Dtype: TypeAlias = Literal["bf16", "fp16", "fp32", "int8", "int4"]

BYTES: Mapping[Dtype, float] = MappingProxyType({"bf16": 2, "fp16": 2, "fp32": 4, "int8": 1, "int4": 0.5})
"""Bytes of one weight."""

TRAINED_BYTES = 16
"""Bytes of one trained weight: mixed precision 2 + 2 gradient + 4 master + 8 Adam; fp32 4 + 4 gradient + 8 Adam."""

ADAPTERS = 0.01
"""LoRA's trained weights as a part of the model's: rank 16 on every linear layer is 0.3 to 0.7 %, rounded up."""

MARGIN = 0.2
"""What comes on top, as a part: KV cache and activations of inference, activations of training with checkpointing."""

_BESIDE: Mapping[Task, str] = MappingProxyType(
    {
        "inference": "KV cache and activations",
        "lora": "activations",
        "full": "activations",
        "pretrain": "activations",
    }
)

_TASK_SLIPS = {
    **dict.fromkeys(("train", "training", "finetune", "finetuning", "fine-tune", "fine-tuning", "sft"), "lora or full"),
    **dict.fromkeys(("serve", "serving", "infer", "generate"), "inference"),
}
_DTYPE_SLIPS = {
    **dict.fromkeys(("float16", "half"), "fp16"),
    **dict.fromkeys(("float32", "float", "single"), "fp32"),
    **dict.fromkeys(("fp8", "8bit", "8-bit", "q8"), "int8"),
    **dict.fromkeys(("fp4", "nf4", "4bit", "4-bit", "q4"), "int4"),
}
"""Words people use that no likeness of letters leads from; `fp8` weighs what `int8` does."""

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMBT]?)"
_SIZE_INSIDE = r"(?<![0-9A-Z.])[0-9]{1,15}(?:\.[0-9]{1,9})?[MBT](?![0-9A-Z])"
"""The size in a model's name: `7b` of `Llama-2-7b-hf`; nothing of `8x7B`, whose parts do not say the whole."""

_LEAST, _MOST = 1e3, 1e15
"""Parameters of a model: under the one a unit was forgotten, over the other one was mistaken."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One machine for a model.

    Attributes:
        spec: the GPUs, with as many as it takes to hold the model.
        reason: why it is in the list, in a few words.
        need_gb: GB the model needs by the arithmetic, all GPUs together.
        formula: how that came out, in words.
        per_hour: USD for all its GPUs; None where no price is known.
        guideline: the reference recommends this GPU for the task.
    """

    spec: GpuSpec
    reason: str
    need_gb: float
    formula: str
    per_hour: float | None
    guideline: bool


def recommend(
    model: str | float, task: Task = "inference", dtype: Dtype = "bf16", budget: float | None = None
) -> tuple[Recommendation, ...]:
    """Machines that hold a model: the reference's GPUs in its order, then all others, the cheapest first.

    Args:
        model: its size, `13B`, `350M`, or a number of parameters.
        task: `inference`; `lora`: train adapters; `full`: train every weight; `pretrain`: likewise, from nothing.
        dtype: of the weights; trained weights are `bf16`, `fp16` or `fp32`.
        budget: USD an hour that the GPUs may cost; None: any.

    Raises:
        LineError: not a size, task, dtype or budget; the message has what was probably meant.
        MachineError: no machine holds the model, or none within the budget; the message has the nearest.
    """
    params, task, dtype = read_model(model), read_task(task), read_dtype(dtype)
    need, formula = memory(params, task, dtype)
    recommended = list(_recommended(guideline(task, params), params, need))
    specs = [spec for spec, _ in recommended]
    computed = sorted((spec for spec in _computed(need) if spec not in specs), key=_price)
    others = [(spec, f"{spec.vram_gb:,} GB for the {_gb(need)} it needs") for spec in computed]
    rows = [
        Recommendation(spec, reason + _bf16_note(spec, dtype), need, formula, spec.price_per_hour, place < len(specs))
        for place, (spec, reason) in enumerate(recommended + others)
    ]
    if not rows:
        raise MachineError(_too_large(params, task, need))
    return _affordable(rows, budget)


def read_model(model: str | float) -> float:
    """Parameters of `13B`, `350M`, `7b`, 7e9.

    Raises:
        LineError: not a size a model has.
    """
    if isinstance(model, str):
        match = re.fullmatch(_SIZE, model.strip().upper())
        if match is None:
            inside = re.search(_SIZE_INSIDE, model, re.IGNORECASE)
            meant = f"did you mean {inside[0]}?" if inside else "write its number of parameters, such as 13B or 350M."
            raise LineError(f"{model!r} is not the size of a model; {meant}")
        model = float(match[1]) * _UNITS[match[2]]
    if not _LEAST <= model <= _MOST:
        meant = f"did you mean {model:g}B?" if 0 < model < _LEAST else "write a number such as 13B or 350M."
        raise LineError(f"A model has {_LEAST:,.0f} to {_MOST:g} parameters; {meant}")
    return float(model)


def read_task(text: str) -> Task:
    """A task from its name, in any case.

    Raises:
        LineError: there is none of that name.
    """
    for task in _BESIDE:
        if task == text.lower():
            return task
    raise _unknown("task", text, tuple(_BESIDE), _TASK_SLIPS)


def read_dtype(text: str) -> Dtype:
    """A dtype from its name, in any case.

    Raises:
        LineError: there is none of that name.
    """
    for dtype in BYTES:
        if dtype == text.lower():
            return dtype
    raise _unknown("dtype", text, tuple(BYTES), _DTYPE_SLIPS)


def memory(params: float, task: Task, dtype: Dtype) -> tuple[float, str]:
    """GB that a model needs for a task, and the formula in words.

    Raises:
        LineError: weights of that dtype cannot be trained.
    """
    size, weights = _size(params), params * BYTES[dtype] / 1e9
    each = f"{size} × {BYTES[dtype]:g} byte{'' if BYTES[dtype] == 1 else 's'} = {_gb(weights)}"
    if task == "inference":
        held, terms = weights, f"{each} weights"
    elif task == "lora":
        adapters = params * ADAPTERS * TRAINED_BYTES / 1e9
        held = weights + adapters
        terms = f"{each} frozen weights + {ADAPTERS:.0%} adapters × {TRAINED_BYTES} bytes = {_gb(adapters)}"
    elif dtype in ("int8", "int4"):
        raise LineError(
            f"{dtype} weights cannot be trained ({task}); write bf16, or the task lora, which freezes them."
        )
    else:
        held = params * TRAINED_BYTES / 1e9
        terms = f"{size} × {TRAINED_BYTES} bytes = {_gb(held)} weights, gradients and Adam states"
    need = held * (1 + MARGIN)
    return need, f"{terms}, + {MARGIN:.0%} {_BESIDE[task]} = {_gb(need)}"


def _recommended(row: Guideline, params: float, need: float) -> Iterator[tuple[GpuSpec, str]]:
    """The GPUs of a guideline, each as many times as it takes, and why; one that cannot hold the model is left out."""
    tie = f", which {_size(params)} is counted in" if params in (13e9, 70e9) and row.least else ""
    for text in row.gpus:
        name, _, count = text.partition(":")
        gpu, written = find(name), int(count.rstrip("+") or 1)
        least = _count(gpu, need)
        if least > gpu.max_count:
            continue
        reason = f"the reference's {text} for {row.label!r}{tie}"
        if least > written:
            reason += f"; {least} of them, as {written} {'has' if written == 1 else 'have'} {gpu.vram_gb * written} GB"
        yield GpuSpec(gpu.name, max(written, least)), reason


def _computed(need: float) -> Iterator[GpuSpec]:
    """Every GPU as many times as it takes. Names that stand for one of several GPUs are left out."""
    for gpu in GPUS.values():
        if gpu.pinned and _count(gpu, need) <= gpu.max_count:
            yield GpuSpec(gpu.name, _count(gpu, need))


def _count(gpu: Gpu, need: float) -> int:
    """How many of a GPU hold that many GB, as sold."""
    return max(1, -int(-need // gpu.vram_gb))


def _affordable(rows: list[Recommendation], budget: float | None) -> tuple[Recommendation, ...]:
    if budget is None:
        return tuple(rows)
    if not budget > 0:
        raise LineError(f"A budget is more than nothing, in dollars an hour, such as 5; not {budget:g}.")
    within = tuple(row for row in rows if row.per_hour is not None and row.per_hour <= budget)
    if within:
        return within
    cheapest = min(rows, key=lambda row: _price(row.spec)).spec
    raise MachineError(
        f"No machine that holds it costs ${budget:g}/h or less; "
        f"the cheapest is {cheapest} at ${_price(cheapest):.2f}/h."
    )


def _too_large(params: float, task: Task, need: float) -> str:
    most = max((GpuSpec(gpu.name, gpu.max_count) for gpu in GPUS.values() if gpu.pinned), key=lambda s: s.vram_gb or 0)
    frozen = "a smaller dtype such as int4" if task in ("inference", "lora") else "the task lora"
    return (
        f"{_size(params)} for {task} needs {_gb(need)}, and one container has {most.vram_gb:,} GB at most ({most}); "
        f"try {frozen}, or a smaller model."
    )


def _bf16_note(spec: GpuSpec, dtype: Dtype) -> str:
    """What to do where the GPU is older than bf16, which came with compute capability 8."""
    old = dtype == "bf16" and spec.gpu is not None and float(spec.gpu.compute_capability) < 8  # noqa: PLR2004
    return "; no bf16 there, use fp16" if old else ""


def _price(spec: GpuSpec) -> float:
    price = spec.price_per_hour
    return float("inf") if price is None else price


def _unknown(kind: str, text: str, known: tuple[str, ...], slips: Mapping[str, str]) -> LineError:
    near = nearest(text, known)
    meant = slips.get(text.lower()) or (either(near) if near else "")
    way_out = f"did you mean {meant}?" if meant else f"there is {', '.join(known)}."
    return LineError(f"{text!r} is no {kind}; {way_out}")


def _size(params: float) -> str:
    """`13B`, `350M`."""
    unit = [unit for unit, amount in _UNITS.items() if params >= amount][-1]
    return f"{params / _UNITS[unit]:.4g}{unit}"


def _gb(amount: float) -> str:
    """An amount of GB as people write it: `26 GB`, `0.84 GB`."""
    if amount < 0.01:  # noqa: PLR2004 - what two decimals can show
        return "under 0.01 GB"
    return f"{amount:,.0f} GB" if amount >= 10 else f"{amount:.2g} GB"  # noqa: PLR2004
