"""Make the magic's help text from the tables of options, presets and GPUs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.line.options import OPTIONS, Option, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 100
"""Width of the help text, characters."""

_INDENT = 32

_HEAD = """\
%%modal_gpu [SPEC ...] [options]

Run this cell on a GPU at Modal. Without a SPEC it runs on the machine its session has.
A \\ at the end of the line continues it, # begins a comment.
"""

_SPECS = (
    ("H100", "one GPU"),
    ("H100:2", "two in one container"),
    ("H100!", "no upgrade to another type"),
    ("24GB", "any GPU with at least so much memory, cheapest first"),
    ("24GB..80GB:2", "two of them, none with more than 80 GB"),
    ("NAME", "a variable that holds a Machine"),
)

_SCOPES: tuple[tuple[Scope, str], ...] = (
    ("where", "Options of the machine; later cells of the session inherit them"),
    ("how", "Options of this cell"),
)


def help_text() -> str:
    """Return the complete grammar of the magic, at most `WIDTH` characters wide."""
    parts = [_HEAD, _table("SPEC, in any case; further ones are fallbacks, in order", _SPECS)]
    parts.append(_table("GPUs", ((gpu.name, f"{gpu.vram_gb} GB, 1 to {gpu.max_count}") for gpu in GPUS.values())))
    for scope, title in _SCOPES:
        options = [option for option in OPTIONS.values() if option.scope == scope]
        parts.append(_table(title, ((option.usage, option.help + _note(option)) for option in options)))
    parts.append(_table("Presets of --image", ((preset.name, preset.help) for preset in PRESETS.values())))
    return "\n".join(parts)


def _note(option: Option) -> str:
    default = f" (default: {option.default})" if option.default else ""
    return default + (" (repeatable)" if option.kind.many else "")


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Format a title and rows of two columns."""
    lines = [f"{title}:"]
    for left, right in rows:
        first, *rest = textwrap.wrap(right, WIDTH - _INDENT, break_on_hyphens=False)
        lines += [f"  {left:<{_INDENT - 2}}{first}", *(f"{'':<{_INDENT}}{line}" for line in rest)]
    return "\n".join((*lines, ""))
