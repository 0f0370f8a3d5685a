"""Complete a line at the cursor, from the tables. `ui.magics.complete` supplies the notebook's names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar

from modal_gpu_magic.catalog.gpus import GPUS, lookup
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.line.models import TASKS
from modal_gpu_magic.line.options import OPTIONS, Option
from modal_gpu_magic.line.scan import comment_start

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_Row = TypeVar("_Row")

CompletionType = Literal["gpu", "count", "need", "machine", "option", "value"]


@dataclass(frozen=True, slots=True)
class Completion:
    """A text that may replace `line[start:cursor]`.

    Attributes:
        text: the text.
        type: type of the completion.
        start: start of the replaced part in the line.
        help: what a list of completions shows beside the text; may be empty.
    """

    text: str
    type: CompletionType
    start: int
    help: str = ""


_NEEDS = ("16GB", "24GB", "40GB", "80GB", "24GB..80GB")

_SIZES = ("350M", "1B", "3B", "7B", "8B", "13B", "32B", "70B", "405B")
"""Common numbers of parameters, which show the format."""

_USUAL_GPUS = ("H100", "A100-80GB", "L40S", "A10", "L4", "T4", "H200", "B200")
"""GPUs that are offered first, the most usual one at the top."""

_USUAL_OPTIONS = (
    *("--pip", "--timeout", "--keep-warm", "--image", "--volume", "--secret", "--env", "--fetch"),
    *("--torchrun", "--model", "--dry-run"),
)
"""Options that are offered first."""

RECOMMEND_FLAGS = ("--dtype", "--budget")
"""Options of `%modal_gpu recommend`, with the same meaning as in a header."""

_NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})


def complete(
    line: str,
    cursor: int | None = None,
    *,
    machines: Collection[str] = (),
    values: Mapping[str, Collection[str]] = _NOTHING,
) -> list[Completion]:
    """Return the completions at the cursor, best first. Never raises: an unfinished line is seldom valid.

    Args:
        line: the whole text after `%%modal_gpu `.
        cursor: position in the text; None: the end.
        machines: names of the notebook's Machine variables.
        values: further values by flag, such as the notebook's variables for `--in`.
    """
    cursor = len(line) if cursor is None else cursor
    before = line[:cursor]
    if comment_start(before) is not None:
        return []
    words = before.split()
    current = words.pop() if before[-1:].strip() else ""
    option = _awaiting(words)
    if option:
        return _values(option, current, cursor, values)
    flag, equals, value = current.partition("=")
    if equals and flag in OPTIONS:
        return _values(OPTIONS[flag], value, cursor, values)
    if current.startswith("-"):
        return _options(current, cursor, line[:cursor].split()[:-1] + line[cursor:].split())
    return _requests(current.rpartition(",")[2], cursor, machines)


def complete_recommend(line: str, cursor: int) -> list[Completion]:
    """Return completions after `%modal_gpu recommend `: a model's size, then a task, and options."""
    words = line[:cursor].split()
    current = words.pop() if line[:cursor][-1:].strip() else ""
    option = _awaiting(words)
    if option and option.flag in RECOMMEND_FLAGS:
        return _values(option, current, cursor, _NOTHING)
    start = cursor - len(current)
    if current.startswith("-"):
        return [
            Completion(flag, "option", start, OPTIONS[flag].help) for flag in _starting_with(current, RECOMMEND_FLAGS)
        ]
    flags = [word for word in words if word in RECOMMEND_FLAGS]
    position = len(words) - 2 * len(flags)
    fits = _starting_with(current, (_SIZES, TASKS)[position]) if position in (0, 1) else []
    return [Completion(text, "value", start) for text in fits]


def _usual_first(table: Mapping[str, _Row], usual: Collection[str]) -> list[_Row]:
    """Return the rows of a table, those with a usual name first."""
    return [table[name] for name in dict.fromkeys((*usual, *table))]


def _starting_with(current: str, texts: Collection[str]) -> list[str]:
    return [text for text in texts if text.lower().startswith(current.lower())]


def _awaiting(words: list[str]) -> Option | None:
    """Return the option that the last word names, if its value comes next."""
    option = OPTIONS.get(words[-1]) if words else None
    return option if option and not option.is_flag and option.kind.alone is None else None


def _values(option: Option, current: str, cursor: int, values: Mapping[str, Collection[str]]) -> list[Completion]:
    last = current.rpartition(",")[2] if option.kind.cut else current
    known = dict.fromkeys((*option.kind.choices, *values.get(option.flag, ()))) or {option.kind.example: None}
    start = cursor - len(last)
    return [
        Completion(
            text, "value", start, PRESETS[text].help if option.flag == "--image" and text in PRESETS else option.help
        )
        for text in known
        if text.startswith(last) and text != last
    ]


def _options(current: str, cursor: int, others: list[str]) -> list[Completion]:
    """Return the flags that start with `current`, except flags on the line that must not repeat."""
    present = {word.partition("=")[0] for word in others}
    fits = [
        option
        for option in _usual_first(OPTIONS, _USUAL_OPTIONS)
        if option.flag.startswith(current) and (option.kind.many or option.flag not in present)
    ]
    return [Completion(option.flag, "option", cursor - len(current), option.help) for option in fits]


def _requests(current: str, cursor: int, machines: Collection[str]) -> list[Completion]:
    start = cursor - len(current)
    name, colon, count = current.partition(":")
    gpu = lookup(name.rstrip("!"))
    if colon:
        most = gpu.max_count if gpu else 0
        counts = [str(number) for number in range(2, most + 1) if str(number).startswith(count)]
        return [Completion(f"{name.upper()}:{number}", "count", start) for number in counts]
    prefix = current.upper()
    found = [
        Completion(gpu.name, "gpu", start, gpu.best_for)
        for gpu in _usual_first(GPUS, _USUAL_GPUS)
        if gpu.name.startswith(prefix)
    ]
    if gpu and gpu.strict and gpu.name == prefix:
        found.append(Completion(f"{gpu.name}!", "gpu", start, "no upgrade"))
    found += [
        Completion(machine, "machine", start, "a Machine of the notebook")
        for machine in machines
        if machine.startswith(current)
    ]
    if re.fullmatch(r"[0-9]*", current):
        found += [
            Completion(need, "need", start, "any GPU with this memory") for need in _NEEDS if need.startswith(prefix)
        ]
    return found
