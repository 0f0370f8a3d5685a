"""Parse size, task and dtype of a model, from a line or from code. `plan.machine.recommend` uses the result."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import LineError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Word = TypeVar("_Word", bound=str)

Task: TypeAlias = Literal["inference", "lora", "full", "pretrain"]
Dtype: TypeAlias = Literal["bf16", "fp16", "fp32", "int8", "int4"]

TASKS: tuple[Task, ...] = ("inference", "lora", "full", "pretrain")
"""Tasks: `lora` trains adapters, `full` every weight, `pretrain` every weight from scratch."""

BYTES: Mapping[Dtype, float] = MappingProxyType({"bf16": 2, "fp16": 2, "fp32": 4, "int8": 1, "int4": 0.5})
"""Bytes of one weight."""

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
"""Common synonyms that are not similar in spelling; `fp8` has the size of `int8`."""

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_SIZE = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMBT]?)"
_SIZE_INSIDE = r"(?<![0-9A-Z.])[0-9]{1,15}(?:\.[0-9]{1,9})?[MBT](?![0-9A-Z])"
"""A size within a model's name: `7b` in `Llama-2-7b-hf`; none in `8x7B`, which does not state the total."""

_LEAST, _MOST = 1e3, 1e15
"""Range of a model's number of parameters: a smaller number lacks its unit, a larger one has a wrong unit."""


def read_model(model: str | float) -> float:
    """Return the number of parameters for `13B`, `350M`, `7b` or 7e9.

    Raises:
        LineError: not the size of a model.
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


def read_name(text: str) -> str:
    """Check the size of a model and return the text unchanged.

    Raises:
        LineError: not the size of a model.
    """
    read_model(text)
    return text.strip()


def write_model(params: float) -> str:
    """Format a number of parameters as `13B` or `350M`, with up to four digits."""
    unit = [unit for unit, amount in _UNITS.items() if params >= amount][-1]
    return f"{params / _UNITS[unit]:.4g}{unit}"


def read_task(text: str) -> Task:
    """Return the task with this name, in any case.

    Raises:
        LineError: no such task.
    """
    return _known("task", text, TASKS, _TASK_SLIPS)


def read_dtype(text: str) -> Dtype:
    """Return the dtype with this name, in any case.

    Raises:
        LineError: no such dtype.
    """
    return _known("dtype", text, tuple(BYTES), _DTYPE_SLIPS)


def read_budget(text: str) -> float:
    """Return USD per hour for `5`, `$5` or `$5/h`.

    Raises:
        LineError: not an amount of dollars.
    """
    match = re.fullmatch(r"\$?([0-9]{1,6}(?:\.[0-9]{1,4})?)(?:/h)?", text)
    if match is None or not float(match[1]):
        raise LineError(f"{text!r} is not a budget; write dollars an hour, such as 5.")
    return float(match[1])


def _known(kind: str, text: str, known: tuple[_Word, ...], slips: Mapping[str, str]) -> _Word:
    for word in known:
        if word == text.lower():
            return word
    near = nearest(text, known)
    meant = slips.get(text.lower()) or (either(near) if near else "")
    advice = f"did you mean {meant}?" if meant else f"write {either(known)}."
    raise LineError(f"{text!r} is not a {kind}; {advice}")
