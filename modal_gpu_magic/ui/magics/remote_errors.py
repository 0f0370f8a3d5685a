"""Errors of a cell that IPython would not show by their own traceback: syntax errors and exception groups.

IPython asks an error for `_render_traceback_`, except these two kinds. A handler for them is its public way to do so.
"""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_GROUP: Any = getattr(builtins, "BaseExceptionGroup", None)  # Python 3.11 on
KINDS: tuple[type[BaseException], ...] = (SyntaxError, *([_GROUP] if _GROUP else []))
COMPILING = "run_cell_async"
"""The function of IPython's in which a cell of this kernel's own fails to compile; one that runs fails further in."""


def show_remote(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: Any = None) -> None:
    """Show an error that came from a container by the lines it brought; any other as IPython does."""
    render = getattr(error, "_render_traceback_", None)
    if render is None and trace is not None and trace.tb_frame.f_code.co_name == COMPILING:
        shell.showsyntaxerror()
    elif render is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
    elif _GROUP is not None and isinstance(error, _GROUP):
        sys.stderr.write("\n".join([*render(), ""]))  # where IPython itself shows a group
    else:
        shell._showtraceback(kind, error, render())  # noqa: SLF001 - what its own handlers end with


def install(shell: InteractiveShell) -> None:
    """Show remote errors of these kinds; where the user has a handler already, that one stays."""
    if not shell.custom_exceptions:
        shell.set_custom_exc(KINDS, show_remote)


def remove(shell: InteractiveShell) -> None:
    """Leave the shell as it was."""
    if shell.custom_exceptions == KINDS:
        shell.set_custom_exc((), None)
