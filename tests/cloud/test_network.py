"""A network that fails while a cell runs: output and result are complete when it is back, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.cloud.conftest import Far
from tests.cloud.proxy import Proxy

CELL: Final = """
count += 1
for number in range(6):
    print("line", number, flush=True)
    if number == 2:
        (flags / "half").touch()
        while not (flags / "go").exists():
            time.sleep(0.01)
(flags / "over").touch()
count * 10
"""
LINES: Final = "".join(f"line {number}\n" for number in range(6))


def hole(proxy: Proxy) -> None:
    proxy.black_hole()


FAULTS: Final[dict[str, Callable[[Proxy], None]]] = {
    "cut for 3 s": lambda proxy: proxy.cut(3),
    "resets": lambda proxy: proxy.reset(),
    "black hole": lambda proxy: proxy.black_hole(),
    "refused": lambda proxy: proxy.refuse(),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_mid_run_costs_nothing(far: Far, fault: Callable[[Proxy], None]) -> None:
    proxy, flags = far.cloud.proxy, far.flags
    far.meanwhile(
        far.when((flags / "half").exists),
        lambda: fault(proxy),
        (flags / "go").touch,
        far.when((flags / "over").exists),
        proxy.mend,
    )
    result = far.kernel.remote(CELL, "T4", timeout=110)
    assert result.ok, result.error
    assert (result.stdout, result.value()) == (LINES, "10")
    assert far.kernel.print("count") == "1"
    assert far.kernel.remote("count", "T4").value() == "1"
