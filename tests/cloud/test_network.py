"""A network that fails while a cell runs: output and result are complete when it is back, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from tests.cloud.conftest import Far
from tests.cloud.proxy import Proxy

pytestmark = pytest.mark.timeout(300)
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
MOST_TRIES: Final = 8
"""More attempts than the SDK makes of one request."""
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


ASKS: Final = """
import pathlib
flags = pathlib.Path({!r})
(flags / "asks").touch()
while not (flags / "fails").exists():
    time.sleep(0.01)
print("got", input("name? "), input("age? "))
"""


def test_an_answer_to_input_outlives_a_failure(far: Far) -> None:
    """A detached session looks who has it before it answers, by a request that the SDK repeats a few times."""
    gates, flags = far.cloud.gates, far.flags
    header = "T4 --session asks --detach"
    assert far.kernel.remote("import time", header, timeout=100).ok
    far.meanwhile(
        far.when((flags / "asks").exists),
        lambda: gates.fail("DictGet"),
        (flags / "fails").touch,
        far.when(lambda: gates.failed("DictGet") > MOST_TRIES),
        lambda: gates.mend("DictGet"),
    )
    result = far.kernel.remote(ASKS.format(str(flags)), header, timeout=110, answers=["bob", "7"])
    assert result.ok, result.error
    assert (result.stdout, result.stderr) == ("got bob 7\n", "")
    assert far.kernel.run("%modal_gpu stop asks").ok


def test_an_app_that_modal_ends_in_mid_run_is_said_in_one_sentence(far: Far) -> None:
    """Nothing of the requests that fail beside the run is printed; the next cell has a new container."""
    gates, flags = far.cloud.gates, far.flags
    header = "T4 --session ends"
    assert far.kernel.remote("import time\nflags = flags", header, timeout=100).ok
    hears = [lambda: gates.forget("QueueGet"), far.when(lambda: gates.passed("QueueGet"))]
    # The second answer shows that the kernel has the first one, and so knows that the cell has begun.
    far.meanwhile(far.when((flags / "half").exists), *hears, *hears, lambda: gates.fail("*", status="NOT_FOUND"))
    result = far.kernel.remote(
        '(flags / "half").touch()\nfor _ in range(6_000):\n    time.sleep(0.05)', header, timeout=60
    )
    assert result.error.startswith("ContainerLost: Modal ended the App and its container before the cell had ended. ")
    assert len(result.traceback.strip().splitlines()) == 1
    assert result.stderr == ""
    gates.mend("*")
    assert far.kernel.remote("1 + 1", header, timeout=60).value() == "2"
