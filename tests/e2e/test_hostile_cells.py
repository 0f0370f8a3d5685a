"""Cells that hurt their process: each ends as natively or in one sentence, soon after ■, and the next cell works."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import Pair
from tests.e2e.kernel import Kernel

STOPPED_SECONDS = 15.0
"""Seconds that a stopped cell may take to end."""

PUT_BACK = {
    "len": "import builtins\nbuiltins.len = None",
    "isinstance": "import builtins\nbuiltins.isinstance = lambda *_: 1 / 0",
    "getattr, isinstance": "import builtins\nbuiltins.isinstance = builtins.getattr = None",
    "Exception": "import builtins\nbuiltins.Exception = 5",
    "type": "__builtins__.type = None",
    "TypeError": "import builtins\ndel builtins.TypeError",
    "dict": "vars(__import__('builtins'))['dict'] = list",
    "modules": "import sys\nsys.modules.clear()",
    "threading": "import sys\ndel sys.modules['threading']",
}
"""By what the note names."""


@pytest.mark.parametrize("names", PUT_BACK)
def test_what_the_container_needs_is_put_back(kernel: Kernel, names: str) -> None:
    kernel.remote("kept = 1")
    ended = kernel.remote(PUT_BACK[names], timeout=40)
    assert f"Restored {names}: the cell had replaced or removed what the container needs." in ended.said
    after = kernel.remote("print(len([1]), isinstance(1, int), kept)\nmade = [2]")
    assert after.stdout == "1 True 1\n", after.error
    assert kernel.print("made") == "[2]"


def test_a_cell_that_goes_on_without_a_built_in(kernel: Kernel) -> None:
    """A thread of the SDK may need the built-in meanwhile, and end; the process ends then, with what was not sent."""
    source = (
        "import builtins, time\nif True:\n    print('first')\n    builtins.len = None\n    time.sleep(2)\n    len([1])"
    )
    ended = kernel.remote(source, timeout=40)
    assert ended.reply["ename"] in ("TypeError", "ContainerLost")
    assert "'NoneType' object is not callable" in ended.error or "the cell replaced built-ins" in ended.error
    assert ended.stdout == "first\n" or ended.reply["ename"] == "ContainerLost"
    assert kernel.remote("len([1])").value() == "1"


def test_replaced_as_in_a_kernel(pair: Pair) -> None:
    """What a kernel survives stays replaced, for user code."""
    pair.there("import builtins\nreal = builtins.print\nbuiltins.print = lambda *a: real('loud', *a)")
    pair.there("print(1)\nbuiltins.print is real")
    pair.there(
        "def traced(*a, **k):\n    real('opened', a[0])\n    return opener(*a, **k)\nopener = open\nbuiltins.open = traced"
    )
    pair.there("open('/dev/null').read()")
    pair.there("builtins.print, builtins.open = real, opener\nprint(2)")
    pair.there("open('/dev/null').read()\nprint(3)")


SENTENCES = {
    "closed descriptors": ("import os\nos.closerange(3, 256)", "closed file descriptors that the container needs"),
    "a closed event loop": ("import os\nfor n in range(3, 20):\n    os.close(n)", "closed file descriptors"),
    "exit": ("import os\nos._exit(3)", "exit code 3"),
    "no memory": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\nx = bytearray(1 << 30)",
        "",
    ),
    "a process that hears nothing": (
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\ntime.sleep(100)",
        "its container was ended",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_one_sentence(kernel: Kernel, case: str) -> None:
    source, words = SENTENCES[case]
    began = time.monotonic()
    ended = kernel.remote(source, timeout=40, press=(4.0,))
    assert time.monotonic() - began < STOPPED_SECONDS + 5
    assert not ended.ok
    assert words in ended.reply["evalue"]
    assert "\n" not in ended.reply["evalue"]
    if not words:  # the limit stays with the container, which may not even be able to start a cell
        kernel.remote("import os\nos._exit(0)", timeout=40, press=(4.0,))
    assert kernel.remote("print('next')", timeout=60).stdout == "next\n"


def test_endless_recursion_of_great_depth(kernel: Kernel) -> None:
    source = """
import sys
before = sys.getrecursionlimit()
sys.setrecursionlimit(60000)
def dive(n):
    a = b = c = d = e = n
    return dive(n + 1) + a
try:
    dive(0)
finally:
    sys.setrecursionlimit(before)
"""
    ended = kernel.remote(source, timeout=60)
    assert ended.error.startswith("RecursionError")
    assert "The traceback is too deep to show" in ended.said
    assert kernel.remote("1").value() == "1"


def test_a_traceback_that_takes_long_is_stopped(kernel: Kernel) -> None:
    kernel.run("import sys")
    source = "import sys\nsys.setrecursionlimit(3900)\ndef dive(n):\n    return dive(n + 1)\nprint('on')\ndive(0)"
    began = time.monotonic()
    ended = kernel.remote(source, timeout=90, press=("on", 2.0))
    assert not ended.ok
    assert time.monotonic() - began < STOPPED_SECONDS + 4
    assert kernel.remote("sys.setrecursionlimit(3000)\n1").value() == "1"


SAME = {
    "descriptor 1 closed": "import os\nos.close(1)",
    "no streams": "import sys\nold = sys.stdout\nsys.stdout = sys.stderr = None\nsys.stdout = old\nsys.stderr = sys.__stderr__",
    "an empty environment": "import os\nkept = dict(os.environ)\nos.environ.clear()\nlen(os.environ)\nos.environ.update(kept)",
    "SIGINT ignored": "import signal\nbefore = signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "SIGINT back": "signal.signal(signal.SIGINT, before) is signal.SIG_IGN",
    "a removed directory": "import os, tempfile\nhome = os.getcwd()\nd = tempfile.mkdtemp()\nos.chdir(d)\nos.rmdir(d)",
    "back": "os.chdir(home)",
    "sleep replaced": "import time\nsleep, time.sleep = time.sleep, lambda s: None\ntime.sleep(100)",
    "sleep back": "time.sleep = sleep",
    "names that are no text": "globals()[5] = 6\nglobals()[(1, 2)] = [3]\nglobals()[None] = 4\nglobals()[5]",
}


def test_what_a_kernel_survives(pair: Pair) -> None:
    for source in SAME.values():
        pair.there(source, timeout=40)
        pair.there("print('next')\nseen = [1]", timeout=40)
        assert pair.kernel.print("seen") == "[1]"


def test_threading_replaced(kernel: Kernel) -> None:
    ended = kernel.remote(
        "import threading\nthreading.current_thread = threading.Thread = None", timeout=40, press=(5,)
    )
    assert ended.ok or ended.reply["ename"] == "ContainerLost"
    kernel.remote("import os\nos._exit(0)", timeout=40, press=(5,))
    assert kernel.remote("print('next')", timeout=40).stdout == "next\n"


def test_names_of_the_notebook_that_are_no_text(fresh: Kernel) -> None:
    assert fresh.run("globals()[5] = 6\nglobals()[(1, 2)] = [3]\nglobals()[b'x'] = globals()[None] = 4\nx = 1").ok
    for source in (
        "print(x)",
        "y = x + 1",
        "print(eval('x'))",
        "del y",
        "%who_ls",
        "print(sorted(k for k in globals() if k == 'x'))",
    ):
        ended = fresh.remote(source, "T4")
        assert ended.ok, ended.error
    for command in ("%modal_gpu status", "%modal_gpu last", "%%modal_gpu T4 --dry-run\nx", "%%modal_gpu T4 --clean\nx"):
        assert fresh.run(command).ok
    assert fresh.run("%modal_gpu stop").ok
    assert fresh.remote("x").value() == "1"


FAULTY = """
class Faulty:
    def fails(self, *_): raise RuntimeError("faulty")
    __eq__ = __hash__ = __repr__ = __getattr__ = __reduce_ex__ = __bool__ = __len__ = __iter__ = __sizeof__ = fails
class Dying:
    def __del__(self): raise RuntimeError("dying")
class Meta(type):
    def __instancecheck__(cls, other): raise RuntimeError("meta")
    def __subclasscheck__(cls, other): raise RuntimeError("meta")
    def __repr__(cls): raise RuntimeError("meta")
    def __eq__(cls, other): raise RuntimeError("meta")
    def __hash__(cls): raise RuntimeError("meta")
class Odd(metaclass=Meta): pass
class Liar:
    __class__ = property(lambda self: 1 / 0)
class Hidden:
    def __getattribute__(self, name): raise RuntimeError("hidden")
"""


@pytest.mark.parametrize(
    "made", ["Faulty()", "Dying()", "Liar()", "Hidden()", "[Faulty(), Dying(), Liar(), Hidden()]", "Odd"]
)
@pytest.mark.parametrize("side", ["kernel", "container"])
def test_objects_whose_methods_fail(kernel: Kernel, made: str, side: str) -> None:
    run = kernel.run if side == "kernel" else kernel.remote
    ended = run(f"{FAULTY}\nodd = {made}\nfine = [1]")
    assert ended.ok, ended.error
    for source in ("fine.append(2)\nprint('next')", "print(fine[0])\nother = fine"):
        after = kernel.remote(source, timeout=40)
        assert after.ok, after.error
        assert kernel.run("fine").ok
    assert kernel.print("fine") == "[1, 2]"
    read = kernel.remote("_ = odd\nprint('read')", timeout=40)
    assert read.stdout == "read\n" or "odd" in read.error, read.error
    assert kernel.remote("odd = None\nprint('next')", timeout=40).stdout == "next\n"
    assert kernel.run("odd = None").ok
