"""Reports that the kernel is asked to end: a detached run goes on, although its ■ was pressed just before."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.session.run.kernel_end import KERNEL_END

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def install(shell: InteractiveShell) -> None:
    """Report the kernel's `do_shutdown`, which ipykernel calls in its control thread while a cell runs, too.

    Kernels override this method to act on their end (ipykernel 6.30 to 7.4). Symptom if ipykernel calls it no longer: a
    restart of the kernel stops the running cell of a detached session.
    """
    kernel: Any = getattr(shell, "kernel", None)
    if kernel is None or KERNEL_END.is_watched:
        return
    shut_down = kernel.do_shutdown

    async def do_shutdown(restart: bool) -> Any:  # noqa: FBT001 - ipykernel's signature
        KERNEL_END.asked()
        answer = shut_down(restart)
        return await answer if inspect.isawaitable(answer) else answer

    kernel.do_shutdown = do_shutdown
    KERNEL_END.is_watched = True
