"""Words that are no request, but whose meaning is plain: the sentence that says what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modal_gpu_magic.line.options import OPTIONS
from modal_gpu_magic.line.units import read_duration, unit_of, write_duration

if TYPE_CHECKING:
    from modal_gpu_magic.line.options import Option

COMMANDS: Final = (
    *("picker", "use", "gpus", "recommend", "put", "get", "ls"),
    *("status", "last", "metrics", "stop", "help"),
)
"""The commands of `%modal_gpu`."""
GPU_OPTIONS: Final = frozenset({"--gpu", "--gpus"})
"""Options that other tools have, and that a header does not need."""


def meant_by(text: str, before: str, after: tuple[Option, str] | None) -> str | None:
    """Return the sentence for a word that is no request; None: the meaning is not known.

    Args:
        text: the word.
        before: the word before it, `H100`; empty: the word is the first.
        after: the option and its value just before the word, if there is one.
    """
    if text in COMMANDS:
        return f"{text} is a command, not a GPU: write %modal_gpu {text} in a cell of its own."
    if after is not None and (duration := _duration(*after, text)):
        return f"{text} is a word of its own: write {after[0].flag} {duration}."
    if text.isdecimal() and before and ":" not in before:
        return f"A count follows its GPU without a space: write {before}:{text}."
    name, equals, value = text.partition("=")
    if equals and f"--{name}" in OPTIONS:
        return f"An option begins with two hyphens: write --{name} {value}."
    return None


def _duration(option: Option, value: str, unit: str) -> str:
    """Return the duration meant by `--timeout 2 hours`; empty: the option takes none, or the word is no unit."""
    letter = unit_of(unit)
    if option.kind.write is not write_duration or not value.isdecimal() or not letter:
        return ""
    return write_duration(read_duration(f"{value}{letter}"))
