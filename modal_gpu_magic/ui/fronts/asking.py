"""Test whether a user can answer a cell's questions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def can_ask(shell: InteractiveShell) -> bool:
    """Return whether a user can answer: nbclient, papermill and `jupyter execute` run cells with `allow_stdin` off."""
    kernel: Any = getattr(shell, "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False)) if kernel is not None else sys.stdin.isatty()
