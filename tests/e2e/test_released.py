"""A value of the notebook dies with its last name, without the garbage collector: no cycle or traceback of ours holds one."""

from __future__ import annotations

import pytest

from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import Kernel

BEGIN = """
import gc, weakref
import numpy as np
gc.collect(); gc.disable()
class Own:
    def __init__(self): self.inner = np.ones(300_000)
def closed(big):
    return lambda: big[0]
refs = {}
"""
MAKE = """
big, view, own = np.ones(300_000), np.ones(300_000)[::2], Own()
part = closed(np.ones(300_000))
masked = np.ma.masked_array(np.ones(300_000), mask=False)
several = [np.ones(300_000), Own(), {"a": np.ones(300_000)}]
for name in ("big", "view", "own", "part", "masked"):
    refs[name] = weakref.ref(globals()[name])
refs["first"], refs["second"] = map(weakref.ref, several[:2])
name = None
"""
READ = "_ = big, view, own, part, masked, several\n"
DELETE = "del big, view, own, part, masked, several"
LIVES = "print([name for name, each in refs.items() if each() is not None])"

ENDS = {
    "done": f"{READ}_ = 0",
    "error": f"{READ}_ = 0\n1 / 0",
    "error inside": f"{READ}_ = 0\ndef fails(value):\n    raise ValueError(len(value))\nfails(several)",
    "refused": f"{READ}_ = 0\nlock",
    "changed": f"{READ}big[0] += 1; own.inner[1] = 2; several.append(1); _ = 0",
}


@pytest.fixture(scope="module", autouse=True)
def _begun(kernel: Kernel) -> None:
    assert kernel.run(f"{BEGIN}import threading\nlock = threading.Lock()").ok


@pytest.mark.parametrize("how", ENDS)
def test_values_that_were_sent(kernel: Kernel, how: str) -> None:
    kernel.run(MAKE)
    ended = kernel.remote(ENDS[how], "T4 --no-in refs")
    assert ended.ok == (how in ("done", "changed")), ended.error
    assert kernel.run(DELETE).ok
    wait_until(lambda: kernel.run(LIVES).stdout == "[]\n")


@pytest.mark.parametrize("how", ["done", "error"])
def test_values_that_a_cell_made(kernel: Kernel, how: str) -> None:
    assert kernel.remote(BEGIN, "T4").ok
    made = kernel.remote(f"{MAKE}kept = refs\n" + ("1 / 0" if how == "error" else ""), "T4")
    assert made.ok == (how == "done"), made.error
    sent = """
for name in ("big", "view", "own", "part", "masked"):
    refs[name] = weakref.ref(globals()[name])
name = None
"""
    assert kernel.run("refs = {}" + sent).ok
    assert kernel.run(DELETE).ok
    wait_until(lambda: kernel.run(LIVES).stdout == "[]\n")
    kernel.remote("1", "T4")
    kernel.run("del refs")
    lives = "print([name for name, each in kept.items() if each() is not None])"
    wait_until(lambda: kernel.remote(lives, "T4").stdout == "[]\n")
