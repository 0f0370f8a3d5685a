"""■ in a slow or failing cloud: the prompt is back in two seconds with one line, and the run is cancelled by itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

import psutil
import pytest

from tests.cloud.conftest import Far
from tests.cloud.proxy import Proxy
from tests.e2e.detached_user import SESSION, wait_until
from tests.e2e.kernel import Result

pytestmark = pytest.mark.timeout(300)
PROMPT: Final = 25.0
"""Seconds from ■ to the prompt: two, and what a busy machine adds. Nothing that a test holds up ends earlier."""
HINT: Final = "Stop again"
"""Words of the hint that comes two seconds after a ■; another ■ counts from then on."""
SPAWNS: Final = """
from modal_gpu_magic.sdk.app import Call
spawn = getattr(Call, "spawn_", Call._spawn)
Call.spawn_ = spawn
def _spawn(*a):
    (flags / "spawns").touch()
    while not (flags / "faulty").exists():
        time.sleep(0.01)
    return spawn(*a)
Call._spawn = _spawn
"""
"""Makes a kernel wait before it sends a cell, until the network has failed."""
RUNS: Final = "count += 1\n(flags / 'ran').touch()"
ENDLESS: Final = "(flags / 'half').touch()\nwhile True:\n    time.sleep(0.05)"
IGNORES: Final = f"""\
{ENDLESS.splitlines()[0]}
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""

SLOW: Final[dict[str, Callable[[Proxy], None]]] = {
    "cut": lambda proxy: proxy.cut(12),
    "black hole": lambda proxy: proxy.black_hole(),
    "refused": lambda proxy: proxy.refuse(),
}


SAYS_WHEN_IT_ENDS: Final = """
from modal_gpu_magic.sdk.held import HeldApp
flush = HeldApp.flush
HeldApp.flush = lambda app, run: ((flags / "ends").touch(), flush(app, run))[1]
"""
"""Makes a file once the kernel ends an App; a container puts into the queue as well."""


class Pressed:
    """When ■ was pressed: the condition of a press, which notes the time."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self.holds, self.at = holds, 0.0

    def __call__(self) -> bool:
        if self.at == 0.0 and self.holds():
            self.at = time.monotonic()
        return self.at > 0.0


def stopped(far: Far, source: str, holds: Callable[[], bool], header: str = "T4", *, again: bool = False) -> Result:
    """Run a cell that is stopped when a condition holds, and `again` after the hint; check the prompt."""
    pressed = Pressed(holds)
    began = time.monotonic()
    result = far.kernel.remote(source, header, press=[pressed, *([HINT] if again else [])], timeout=110)
    late = began + result.seconds - pressed.at
    assert "KeyboardInterrupt" in result.error
    assert late < PROMPT, f"{late:.1f} s"
    assert len(result.traceback.strip().splitlines()) == 1 or re.search(r"<ipython-input|Cell In", result.traceback)
    assert "modal_gpu_magic" not in result.traceback
    assert "site-packages/modal/" not in result.traceback
    return result


def agree(far: Far) -> None:
    """Whether both sides have the same namespace afterwards."""
    far.cloud.proxy.mend()
    remote = far.kernel.remote("count", "T4", timeout=110)
    assert remote.ok, remote.error
    assert remote.value() == far.kernel.print("count")


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_while_the_spawn_is_slow(far: Far, fault: Callable[[Proxy], None]) -> None:
    proxy, flags = far.cloud.proxy, far.flags
    assert far.kernel.run(SPAWNS).ok
    far.meanwhile(far.when((flags / "spawns").exists), lambda: fault(proxy), (flags / "faulty").touch)
    stopped(far, RUNS, (flags / "faulty").exists)
    assert far.kernel.run("Call._spawn = spawn").ok
    agree(far)


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_while_the_result_does_not_come(far: Far, fault: Callable[[Proxy], None]) -> None:
    """The cell runs behind the failure: a second ■ gives the prompt back, and the container ends by itself."""
    flags = far.flags
    far.meanwhile(far.when((flags / "half").exists), lambda: fault(far.cloud.proxy), (flags / "cut").touch)
    stopped(far, ENDLESS, (flags / "cut").exists, again=True)
    agree(far)


def test_while_no_container_has_come(far: Far) -> None:
    """A call that was queued, and ends as cancelled, is not sent again."""
    gates = far.cloud.gates
    gates.close("FunctionGetInputs")
    gates.forget("FunctionMap")
    source = f"open({str(far.flags / 'ran')!r}, 'w')"
    is_queued = lambda: gates.passed("FunctionMap") and gates.reached("FunctionGetInputs")  # noqa: E731
    stopped(far, source, is_queued, header="T4 --session other")
    far.cloud.gates.open("FunctionGetInputs")
    assert far.kernel.remote("1 + 1", "T4 --session other", timeout=110).value() == "2"
    assert not (far.flags / "ran").exists()


def test_while_the_app_is_being_opened(far: Far) -> None:
    far.cloud.gates.close("ImageGetOrCreate")
    stopped(far, "1", lambda: far.cloud.gates.reached("ImageGetOrCreate"), header="L4 --session third")
    far.cloud.gates.open("ImageGetOrCreate")
    assert far.kernel.remote("1 + 1", "L4 --session third", timeout=110).value() == "2"


def test_a_run_that_does_not_stop(far: Far) -> None:
    """Its container and its App end; the next cell goes on with what was saved, as the error has said."""
    header = "T4 --session stubborn --fetch 0"
    assert far.kernel.remote("kept = [1, 2]", header, timeout=100).ok
    saved = far.kernel.run(f"{SESSION.format('stubborn')}.app.save()")
    assert saved.value() == "{}", saved.traceback
    result = stopped(far, IGNORES, (far.flags / "half").exists, header, again=True)
    assert "the next cell goes on with the variables as they were last saved" in result.error
    fetched = far.kernel.run("kept.fetch()")
    assert "the next remote cell of its session restores what was saved" in fetched.error
    again = far.kernel.remote("kept", "T4 --session stubborn", timeout=100)
    assert again.value() == "[1, 2]", again.traceback
    assert again.said.count("a new container starts") == 1
    assert "Lost" not in again.said


def test_while_a_session_is_being_stopped(far: Far) -> None:
    """The press ends the wait for Modal: the container of a background cell ends nevertheless, and is billed no more."""
    draft, file = far.flags / "draft", far.flags / "pid"
    source = (
        f"import os, time\nopen({str(draft)!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(draft)!r}, {str(file)!r})\nwhile True:\n    time.sleep(0.05)"
    )
    assert far.kernel.remote(source, "T4 --session left --bg lasting").ok
    wait_until(file.exists)
    pid = int(file.read_text())
    assert far.kernel.run(SAYS_WHEN_IT_ENDS).ok
    far.cloud.gates.close("QueuePut")
    pressed = Pressed((far.flags / "ends").exists)
    result = far.kernel.run("%modal_gpu stop left", press=[pressed], timeout=110)
    assert "KeyboardInterrupt" in result.error
    assert len(result.traceback.strip().splitlines()) == 1
    far.cloud.gates.open("QueuePut")
    assert far.kernel.run("HeldApp.flush = flush").ok
    wait_until(lambda: not psutil.pid_exists(pid))


def test_while_a_value_is_fetched(far: Far) -> None:
    assert far.kernel.remote("stays = [1] * 10", "T4 --fetch 0", timeout=100).ok
    far.cloud.gates.close("FunctionGetOutputs")
    pressed = Pressed(lambda: far.cloud.gates.reached("FunctionGetOutputs"))
    began = time.monotonic()
    result = far.kernel.run("stays.fetch()", press=[pressed], timeout=110)
    assert result.error == result.traceback.strip() == "KeyboardInterrupt: stopped before the value had arrived"
    assert began + result.seconds - pressed.at < PROMPT
    far.cloud.gates.open("FunctionGetOutputs")
    assert far.kernel.run("len(stays.fetch())", timeout=100).value() == "10"
