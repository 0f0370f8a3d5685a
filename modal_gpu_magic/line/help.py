"""Make the magic's help text from the tables of options, presets and GPUs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import GPUS, Gpu
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.line.options import OPTIONS, Option, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 88
"""Width of the help text, characters: what fits beside a notebook's side bar."""

_INDENT = 32

_HEAD = """\
%%modal_gpu [SPEC ...] [options]

Run this cell on a GPU at Modal. Without a SPEC, the cell runs on the session's GPU.
End a line with \\ to continue the header on the next line; # starts a comment.
"""

_EXAMPLES = (
    ("%%modal_gpu H100", "one H100"),
    ("%%modal_gpu H100 A100-80GB", "one H100, or one A100 where no H100 is free"),
    ("%%modal_gpu L4 --pip einops", "one L4, with a package"),
    ("%%modal_gpu", "the same GPU as the cell before"),
)

_SPECS = (
    ("H100", "one GPU"),
    ("H100:2", "two GPUs in one container"),
    ("H100!", "no upgrade to another type"),
    ("24GB", "any GPU with at least 24 GB, the cheapest first"),
    ("24GB..80GB:2", "two GPUs with 24 to 80 GB each"),
    ("NAME", "a variable that holds a Machine"),
)

_SCOPES: tuple[tuple[Scope, str], ...] = (
    ("where", "Options of the machine, kept for later cells"),
    ("how", "Options of this cell only"),
)


def help_text() -> str:
    """Return the complete grammar of the magic, at most `WIDTH` characters wide."""
    parts = [_HEAD, table("Examples", _EXAMPLES)]
    parts.append(table("SPEC, in capital or small letters; write fallbacks after the first choice", _SPECS))
    parts.append(table("GPUs", ((gpu.name, _about(gpu)) for gpu in GPUS.values())))
    for scope, title in _SCOPES:
        options = [option for option in OPTIONS.values() if option.scope == scope]
        parts.append(table(title, ((option.usage, option.help + _note(option)) for option in options)))
    parts.append(table("Presets of --image", ((preset.name, preset.help) for preset in PRESETS.values())))
    return "\n".join(parts)


def _about(gpu: Gpu) -> str:
    return f"{gpu.vram_gb} GB, ${(rates.current().gpu(gpu.name) or 0.0) * 3600:.2f}/h, 1 to {gpu.max_count}"


def _note(option: Option) -> str:
    default = f" (default: {option.default})" if option.default else ""
    return default + (" (repeatable)" if option.kind.many else "")


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Format a title and rows of two columns, at most `WIDTH` characters wide."""
    lines = [f"{title}:"]
    for left, right in rows:
        first, *rest = textwrap.wrap(right, WIDTH - _INDENT, break_on_hyphens=False)
        lines += [f"  {left:<{_INDENT - 2}}{first}", *(f"{'':<{_INDENT}}{line}" for line in rest)]
    return "\n".join((*lines, ""))
