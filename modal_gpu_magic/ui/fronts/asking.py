"""Whether somebody can answer questions of a cell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def can_ask(shell: InteractiveShell) -> bool:
    """Whether a person is there: nbclient, papermill and `jupyter execute` say that nobody is."""
    kernel: Any = getattr(shell, "kernel", None)
    return bool(getattr(kernel, "_allow_stdin", False)) if kernel is not None else sys.stdin.isatty()
