"""Display of remote syntax errors and exception groups, whose `_render_traceback_` IPython does not call.

IPython calls `_render_traceback_` on all other errors; a custom exception handler is the public way for these two.
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
"""The function of IPython in which compiling a native cell fails; errors of running code have deeper frames."""


def show_remote(shell: Any, kind: type[BaseException], error: BaseException, trace: Any, tb_offset: Any = None) -> None:
    """Show a remote error with the traceback it carries, and any other error as IPython does."""
    render = getattr(error, "_render_traceback_", None)
    if render is None and trace is not None and trace.tb_frame.f_code.co_name == COMPILING:
        shell.showsyntaxerror()
    elif render is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
    elif _GROUP is not None and isinstance(error, _GROUP):
        sys.stderr.write("\n".join([*render(), ""]))  # IPython writes groups to stderr, too
    else:
        shell._showtraceback(kind, error, render())  # noqa: SLF001 - IPython's handlers end with this call


def install(shell: InteractiveShell) -> None:
    """Install the handler unless the user has set one."""
    if not shell.custom_exceptions:
        shell.set_custom_exc(KINDS, show_remote)


def remove(shell: InteractiveShell) -> None:
    """Remove the handler if it is installed."""
    if shell.custom_exceptions == KINDS:
        shell.set_custom_exc((), None)
