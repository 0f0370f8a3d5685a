"""The first picker and the first dashboard do not wait for imports: they come after the first cell, and not before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

LOADED = "'anywidget' in __import__('sys').modules"


def test_widgets_are_imported_after_the_first_cell_where_somebody_is_there(fresh: Kernel) -> None:
    assert fresh.print(LOADED) == "False"
    assert fresh.remote("pass", "--quiet").ok
    time.sleep(0.5)
    assert fresh.print(LOADED) == "False"
    assert fresh.remote("pass", "", answers=()).ok
    end = time.monotonic() + 60
    while fresh.print(LOADED) == "False" and time.monotonic() < end:
        time.sleep(0.1)
    assert fresh.print(LOADED) == "True"
