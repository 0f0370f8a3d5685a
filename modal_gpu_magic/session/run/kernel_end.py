"""Whether a press of ■ is the beginning of the kernel's end, which a detached run must not notice.

Programs that restart or shut down a kernel interrupt it first and ask it to end at once afterwards (jupyter_client 7
and 8, `KernelManager.shutdown_kernel`). Imports the standard library only.
"""

from __future__ import annotations

import threading
from typing import Final

WAIT_SECONDS: Final = 0.5
"""How long a press waits for the request to end, which follows within milliseconds. ■ takes so much longer."""


class KernelEnd:
    """Knows whether the kernel was asked to end.

    Attributes:
        is_watched: whether someone reports the request; without that, a press is a press.
    """

    def __init__(self) -> None:
        self.is_watched = False
        self._asked = threading.Event()

    def asked(self) -> None:
        """Note the request. Called from any thread."""
        self._asked.set()

    def follows(self) -> bool:
        """Return whether the kernel ends; wait shortly for the request."""
        return self.is_watched and self._asked.wait(WAIT_SECONDS)


KERNEL_END: Final = KernelEnd()
"""The end of this process's kernel."""
