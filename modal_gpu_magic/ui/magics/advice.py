"""Parse the arguments of `%modal_gpu recommend`. `plan.machine.recommend` makes the recommendation and its table."""

from __future__ import annotations

from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.command import read
from modal_gpu_magic.line.complete import RECOMMEND_FLAGS
from modal_gpu_magic.line.models import read_budget, read_dtype, read_task
from modal_gpu_magic.plan.machine.recommend import Recommendations, recommend

USAGE = "recommend 13B lora [--dtype int8] [--budget 5]"


def advice(text: str) -> Recommendations:
    """Recommend machines for `MODEL [TASK] [--dtype DTYPE] [--budget DOLLARS_AN_HOUR]`.

    Raises:
        LineError: an argument is wrong or missing.
        MachineError: no machine has enough memory, or none within the budget.
    """
    given = read(text, dict.fromkeys(RECOMMEND_FLAGS, True), USAGE)
    words, flags = given.plain, given.flags
    if not 1 <= len(words) <= 2:  # noqa: PLR2004 - a model, and perhaps a task
        raise LineError(f"recommend takes a model and perhaps a task; write %modal_gpu {USAGE}.")
    model, task = words[0], read_task(words[1] if words[1:] else "inference")
    dtype = read_dtype(flags.get("--dtype", "bf16"))
    budget = read_budget(flags["--budget"]) if "--budget" in flags else None
    return recommend(model, task, dtype, budget)
