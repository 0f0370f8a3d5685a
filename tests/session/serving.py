"""What the tests of services share."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def eventually(true: Callable[[], object], within: float = 60.0) -> None:
    """Wait until `true()`."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def traceback_of(error: Any) -> str:
    """What IPython shows of it, less its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error._render_traceback_()))
