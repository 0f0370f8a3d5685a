"""`%modal_gpu recommend`: its words, and the table it prints. What is recommended is `plan.recommend`."""

from __future__ import annotations

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.catalog.prices import PRICE_DATE
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.plan.recommend import Recommendation, read_dtype, read_task, recommend

USAGE = "%modal_gpu recommend 13B lora [--dtype int8] [--budget 5]"
FLAGS = ("--dtype", "--budget")


def advice(text: str) -> str:
    """The table for `MODEL [TASK] [--dtype DTYPE] [--budget DOLLARS_AN_HOUR]`.

    Raises:
        LineError: a word is wrong or missing.
        MachineError: no machine holds the model, or none within the budget.
    """
    words, flags = _sorted_out(text)
    if not 1 <= len(words) <= 2:  # noqa: PLR2004 - a model, and perhaps a task
        raise LineError(f"A model and perhaps a task, not {len(words)} words; write {USAGE}.")
    model, task = words[0], read_task(words[1] if words[1:] else "inference")
    dtype = read_dtype(flags.get("--dtype", "bf16"))
    budget = _dollars(flags["--budget"]) if "--budget" in flags else None
    return _table(f"{model} {task} in {dtype}", recommend(model, task, dtype, budget))


def _sorted_out(text: str) -> tuple[list[str], dict[str, str]]:
    """Plain words, and options with their values."""
    words: list[str] = []
    flags: dict[str, str] = {}
    left = iter(text.split())
    for word in left:
        if not word.startswith("--"):
            words.append(word)
            continue
        flag, joined, value = word.partition("=")
        if flag not in FLAGS:
            meant = either(nearest(flag, FLAGS) or FLAGS)
            raise LineError(f"recommend has no option {flag}; did you mean {meant}?")
        flags[flag] = value if joined else next(left, "")
        if not flags[flag]:
            raise LineError(f"{flag} has no value; write {USAGE}.")
    return words, flags


def _dollars(text: str) -> float:
    try:
        return float(text.lstrip("$").removesuffix("/h"))
    except ValueError:
        raise LineError(f"{text!r} is no budget; write dollars an hour, such as --budget 5.") from None


def _table(title: str, rows: tuple[Recommendation, ...]) -> str:
    head = f"{'GPU':<16}{'$/h':>8}  why"
    lines = [
        f"{row.spec!s:<16}{'–' if row.per_hour is None else f'{row.per_hour:.2f}':>8}  {row.reason}" for row in rows
    ]
    return "\n".join([head, *lines, f"{title}: {rows[0].formula}.", f"Prices of the GPUs, as of {PRICE_DATE}."])
