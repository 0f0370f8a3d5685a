"""`--model 13B --task lora` on the line: pick GPUs, or check whether the requested GPUs have enough memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.line.models import Dtype, Task, read_dtype, read_model, read_task, write_model
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import rate
from modal_gpu_magic.plan.machine.recommend import Recommendations, gigabytes, memory, per_hour, recommend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from modal_gpu_magic.line.options import Options


@dataclass(frozen=True, slots=True)
class Choice:
    """The GPUs to run on.

    Attributes:
        specs: the GPUs.
        said: the sentence to show about the GPUs; empty: no sentence.
    """

    specs: tuple[GpuSpec, ...]
    said: str = ""


def choose(options: Options, asked: Sequence[GpuSpec]) -> Choice:
    """Return the GPUs for the model of the line: the requested ones, else the first recommendation.

    A requested GPU that is too small for the model causes a remark, no error, because the arithmetic is an estimate.

    Args:
        options: the options of the line; without `--model` the GPUs do not change.
        asked: the specs of the line, or of its Machine.

    Raises:
        LineError: `--task`, `--dtype` or `--budget` without `--model`, or weights that cannot be trained.
        MachineError: no machine holds the model, or none within the budget.
    """
    if options.model is None:
        lone = next((flag for flag in _BESIDE if getattr(options, flag.removeprefix("--")) is not None), None)
        if lone:
            raise LineError(f"{lone} needs a model; write --model 13B --task lora.")
        return Choice(tuple(asked))
    model = options.model
    task, dtype = read_task(options.task or "inference"), read_dtype(options.dtype or "bf16")
    if asked:
        return Choice(tuple(asked), " ".join(_remarks(model, task, dtype, options.budget, asked)))
    rows = recommend(model, task, dtype, options.budget)
    first = rows[0]
    said = f"Picked {first.spec} ({rate(first.per_hour)}) for {rows.subject}: {first.reason}. {first.formula}."
    return Choice((first.spec,), said)


_BESIDE = ("--task", "--dtype", "--budget")


def _remarks(model: str, task: Task, dtype: Dtype, budget: float | None, asked: Sequence[GpuSpec]) -> Iterator[str]:
    """Yield one sentence for each problem with the requested GPUs."""
    need, formula = memory(read_model(model), task, dtype)
    small = [spec for spec in asked if spec.vram_gb is not None and spec.vram_gb < need]
    if small:
        has = ", ".join(f"{spec} has {spec.vram_gb:,} GB" for spec in small)
        subject = f"{write_model(read_model(model))} {task} in {dtype}"
        yield f"{has}, and {subject} needs {gigabytes(need)} ({formula}); {_alternative(model, task, dtype)}"
    dear = [spec for spec in asked if budget is not None and (per_hour(spec) or 0) > budget]
    if dear:
        costs = ", ".join(f"{spec} costs {rate(per_hour(spec))}" for spec in dear)
        yield f"{costs}, more than --budget {budget:g}."


def _alternative(model: str, task: Task, dtype: Dtype) -> str:
    try:
        rows: Recommendations = recommend(model, task, dtype)
    except MachineError:
        return "no single container has enough memory."
    return f"{rows[0].spec} has enough memory."
