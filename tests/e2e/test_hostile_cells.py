"""Cells that hurt their process: each ends as natively or in one sentence, soon after ■, and the next cell works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Pair
from tests.e2e.kernel import Kernel

STOPPED_SECONDS = 60.0
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
    ended = kernel.remote(PUT_BACK[names])
    assert f"Restored {names}: the cell had replaced or removed what the container needs." in ended.said
    after = kernel.remote("print(len([1]), isinstance(1, int), kept)\nmade = [2]")
    assert after.stdout == "1 True 1\n", after.error
    assert kernel.print("made") == "[2]"


def test_a_cell_that_goes_on_without_a_built_in(kernel: Kernel) -> None:
    """A thread of the SDK may need the built-in meanwhile, and end; the process ends then, with what was not sent."""
    source = (
        "import builtins, time\nif True:\n    print('first')\n    builtins.len = None\n    time.sleep(2)\n    len([1])"
    )
    ended = kernel.remote(source)
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


REPLACED = {
    "json": ("import json", "json.dumps = json.loads = None", "json.dumps is json.loads is None"),
    "pickle": (
        "import pickle",
        "pickle.dumps = pickle.loads = pickle.Pickler = pickle.Unpickler = pickle.PickleBuffer = None",
        "pickle.dumps is pickle.Unpickler is None",
    ),
    "contexts": (
        "import contextlib",
        "contextlib.suppress = contextlib.nullcontext = None",
        "contextlib.suppress is None",
    ),
    "a codec": (
        "import struct, zlib",
        "struct.pack = zlib.compress = zlib.crc32 = None",
        "struct.pack is zlib.crc32 is None",
    ),
    "files": ("import os", "os.write = os.fstat = os.stat = None", "os.fstat is None"),
    "paths": ("import os", "os.path.join = os.path.exists = None", "os.path.join is None"),
    "a module": ("import os", "kept_path, os.path = os.path, None", "os.path is None"),
    "warnings": ("import warnings", "warnings.warn = warnings.catch_warnings = None", "warnings.warn is None"),
    "clocks": (
        "import time",
        "time.time = time.monotonic = time.perf_counter = lambda: 7.0",
        "time.time() == time.monotonic() == 7.0",
    ),
    "a wrapper": (
        "import json",
        "real = json.dumps\njson.dumps = lambda *a, **k: 'loud ' + real(*a, **k)",
        "json.dumps(1) == 'loud 1'",
    ),
    "a class": (
        "import collections",
        "collections.deque = collections.OrderedDict = None",
        "collections.deque is None",
    ),
    "a name that is gone": ("import copy", "del copy.copy, copy.deepcopy", "not hasattr(copy, 'deepcopy')"),
    "hooks of threads": (
        "import threading",
        "threading.setprofile(lambda *a: 1 / 0)\nthreading.settrace(lambda *a: 1 / 0)",
        "threading.getprofile() is not None and threading.gettrace() is not None",
    ),
}
"""What to import, a cell that replaces functions and classes of modules, and what a later cell of the user sees."""


@pytest.mark.parametrize("case", REPLACED)
def test_functions_of_modules_are_replaced_for_user_code_alone(kernel: Kernel, case: str) -> None:
    imports, source, seen = REPLACED[case]
    kernel.remote("kept = [1]")
    after = "print('after')\nget_ipython().display_pub.publish({'text/plain': 'shown'})\nsleep(0.3)\nkept"
    cell = f"from time import sleep\n{imports}\nkept.append(2)\n{source}\n{after}"
    first = kernel.remote(cell, "T4 --timeout 100")
    assert first.ok, first.error
    assert first.stdout == "after\n"
    assert [bundle["text/plain"] for bundle in first.bundles()] == ["shown", "[1, 2]"]
    assert not first.stderr
    again = kernel.remote(f"made = [len(kept)]\nkept.append(3)\n({seen})", "T4 --timeout 100")
    assert again.value() == "True", again.error
    assert not again.stderr
    assert "container ended" not in first.said + again.said
    assert kernel.print("kept, made") == "[1, 2, 3] [2]"
    kernel.remote("import os\nos._exit(0)")
    assert kernel.remote("kept[0]").value() == "1"


def test_a_replaced_function_can_be_put_back(kernel: Kernel) -> None:
    kernel.remote("import json, time\nreal = json.dumps\njson.dumps = None")
    assert kernel.remote("json.dumps = real\njson.dumps(1)").value() == "'1'"
    assert kernel.remote("json.dumps is real").value() == "True"


SENTENCES = {
    "closed descriptors": ("import os\nos.closerange(3, 256)", "closed file descriptors that the container needs"),
    "a closed event loop": ("import os\nfor n in range(3, 20):\n    os.close(n)", "closed file descriptors"),
    "exit": ("import os\nos._exit(3)", "exit code 3"),
    "no memory": (
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))\nx = bytearray(1 << 30)",
        "",
    ),
    "a process that hears nothing": (
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n"
        "open(begun, 'w').close()\ntime.sleep(600)",
        "its container was ended",
    ),
}
MUCH_LATER = 20.0
"""Seconds after the beginning of a cell that should have ended by itself when it is stopped."""


@pytest.mark.parametrize("case", SENTENCES)
def test_one_sentence(kernel: Kernel, tmp_path: Path, case: str) -> None:
    source, words = SENTENCES[case]
    hears_nothing = "begun" in source
    begun, began = tmp_path / "begun", time.monotonic()
    header = f"begun = {str(begun)!r}\n" + ("" if hears_nothing else "open(begun, 'w').close()\n")
    ended = kernel.remote(header + source, press=[(begun.exists, 0.5 if hears_nothing else MUCH_LATER)])
    assert time.monotonic() - began < STOPPED_SECONDS
    assert not ended.ok
    assert words in ended.reply["evalue"]
    assert "\n" not in ended.reply["evalue"]
    if not words:  # the limit stays with the container, which may not even be able to start a cell
        assert kernel.run("%modal_gpu stop").ok
    assert kernel.remote("print('next')").stdout == "next\n"


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
    ended = kernel.remote(source)
    assert ended.error.startswith("RecursionError")
    assert "The traceback is too deep to show" in ended.said
    assert kernel.remote("1").value() == "1"


def test_a_traceback_that_takes_long_is_stopped(kernel: Kernel) -> None:
    kernel.run("import sys")
    source = "import sys\nsys.setrecursionlimit(3900)\ndef dive(n):\n    return dive(n + 1)\nprint('on')\ndive(0)"
    began = time.monotonic()
    ended = kernel.remote(source, press=[("on", 2.0)])
    assert not ended.ok
    assert time.monotonic() - began < STOPPED_SECONDS
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
        pair.there(source)
        pair.there("print('next')\nseen = [1]")
        assert pair.kernel.print("seen") == "[1]"


def test_threading_replaced(kernel: Kernel, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    source = "import threading\nthreading.current_thread = threading.Thread = None"
    ended = kernel.remote(f"open({str(begun)!r}, 'w').close()\n{source}", press=[(begun.exists, MUCH_LATER)])
    assert ended.ok or ended.reply["ename"] == "ContainerLost"
    assert kernel.run("%modal_gpu stop").ok
    assert kernel.remote("print('next')").stdout == "next\n"


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


ODD_ERRORS = {
    "a module that is no text": "class E(Exception): __module__ = 5\nraise E('x')",
    "no module": "class E(Exception): pass\nE.__module__ = None\nraise E('x')",
    "an odd name": "class E(Exception): pass\nE.__name__, E.__qualname__ = 'x\\n\\x1b[31m<b>', ''\nraise E('<script>')",
    "no str": "class E(Exception):\n    def __str__(self): raise ValueError('no')\n    __repr__ = __str__\nraise E",
    "str is a number": "class E(Exception):\n    def __str__(self): return 5\nraise E",
    "no reduce": "class E(Exception):\n    def __reduce_ex__(self, n): raise ValueError('no')\nraise E('x')",
    "no attributes": "class E(Exception):\n    args = property(lambda self: 1 / 0)\nraise E('x')",
    "no truth": "class E(Exception):\n    __bool__ = __len__ = __hash__ = __eq__ = None\nraise E('x')",
    "its own cause": "e = ValueError('x')\ne.__cause__ = e\nraise e",
    "itself": "e = ValueError('x')\ne.args = ([e],)\ne.held = e\nraise e",
    "notes that are no list": "class E(Exception): __notes__ = 5\nraise E('x')",
    "module not found, of no name": "raise ModuleNotFoundError('x', name=5)",
    "a file of no name": "raise FileNotFoundError(2, 'no', 5)",
    "surrogates": "raise ValueError('\\ud800')",
    "no text": "raise SyntaxError('bad', ('f', 1, 2, None))",
    "no arguments": "class E(OSError):\n    def __init__(self): pass\nraise E",
}


OUR_WORDS = {
    "no str": "E: <E whose str() failed>",
    "str is a number": "E: <E whose str() failed>",
    "surrogates": "ValueError: \\ud800",
}
"""Of errors that a kernel cannot show."""


@pytest.mark.parametrize("case", ODD_ERRORS)
def test_odd_errors(pair: Pair, case: str) -> None:
    source = ODD_ERRORS[case]
    ended = pair.kernel.remote(source)
    assert ended.error == OUR_WORDS.get(case, pair.native.run(source).error)
    assert "modal_gpu_magic" not in ended.traceback
    assert "container ended" not in ended.said
    assert "$" in ended.said, "the receipt"
    assert pair.kernel.remote("1").value() == "1"


FAULTY = """
class Nameless: pass
Nameless.__module__, Nameless.__qualname__ = None, ""
class Numbered: __module__ = 5
class Listed: __module__ = []
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
    "made",
    [
        *("Faulty()", "Dying()", "Liar()", "Hidden()", "[Faulty(), Dying(), Liar(), Hidden()]", "Odd"),
        *("Nameless()", "Numbered()", "Listed()", "[Nameless, Numbered, Listed]"),
    ],
)
@pytest.mark.parametrize("side", ["kernel", "container"])
def test_objects_whose_methods_fail(kernel: Kernel, made: str, side: str) -> None:
    run = kernel.run if side == "kernel" else kernel.remote
    ended = run(f"{FAULTY}\nodd = {made}\nfine = [1]")
    assert ended.ok, ended.error
    for source in ("fine.append(2)\nprint('next')", "print(fine[0])\nother = fine"):
        after = kernel.remote(source)
        assert after.ok, after.error
        assert kernel.run("fine").ok
    assert kernel.print("fine") == "[1, 2]"
    read = kernel.remote("_ = odd\nprint('read')")
    assert read.stdout == "read\n" or "odd" in read.error, read.error
    assert kernel.remote("odd = None\nprint('next')").stdout == "next\n"
    assert kernel.run("odd = None").ok


RESET = ("%reset -f", "get_ipython().reset()", "%reset_selective -f .*")


@pytest.mark.parametrize("source", RESET)
def test_a_namespace_that_a_cell_empties(pair: Pair, source: str) -> None:
    kernel, native = pair.kernel, pair.native
    for each in (kernel.run, kernel.remote, native.run):
        each("kept = [1]\nother = 2")
    assert kernel.remote(source).ok
    assert native.run(source).ok
    names = "sorted(name for name in ('kept', 'other', 'get_ipython', 'In', 'exit') if name in globals())"
    assert kernel.remote(names).value() == native.run(names).value()
    assert kernel.run("'kept' in globals() or 'other' in globals()").value() == "False"
    assert kernel.run("%%time\nmade = get_ipython().user_ns is globals()").ok, "the notebook's own magics"
    assert kernel.remote("made = [3]\nmade").value() == "[3]"
    assert kernel.print("made") == "[3]"


def test_a_press_in_the_import_of_a_command(fresh: Kernel) -> None:
    fresh.run(
        "import dataclasses, signal\nreal = dataclasses.Field.__set_name__\n"
        "def pressed(self, owner, name):\n"
        "    dataclasses.Field.__set_name__ = real\n    signal.raise_signal(signal.SIGINT)\n"
        "    return real(self, owner, name)\n"
        "dataclasses.Field.__set_name__ = pressed"
    )
    ended = fresh.run("%modal_gpu status")
    assert ended.error == "KeyboardInterrupt: the command was stopped; what it had done by then stays done"
    assert "modal_gpu_magic" not in ended.traceback
    assert fresh.run("%modal_gpu status").ok
    assert fresh.remote("1", "T4").value() == "1"


def test_a_crash_shows_the_cell_alone(kernel: Kernel) -> None:
    ended = kernel.remote("import ctypes\ndef dies():\n    ctypes.string_at(0)\ndies()")
    assert "Fatal Python error: Segmentation fault" in ended.stderr
    assert " in dies" in ended.stderr
    assert "modal" not in ended.stderr.replace("Runner", "")
    assert "IPython/core" not in ended.stderr


def test_texts_that_no_message_can_hold(kernel: Kernel) -> None:
    """Lone surrogates: in output, in a background cell's error, in the line of a value that stays."""
    source = (
        "import threading\nclass Odd:\n    lock = None\n    def __repr__(self): return '\\ud800'\n"
        "    def _repr_html_(self): return '<b>\\ud801</b>'\n"
        "odd = Odd()\nodd.lock = threading.Lock()\nprint('\\ud802')\nodd"
    )
    ended = kernel.remote(source)
    assert ended.ok, ended.error
    assert ended.stdout == "\\ud802\n"
    assert kernel.run("odd").ok
    failing = "def fails(): raise ValueError('\\ud800')\nget_ipython().run_cell('fails()')\nfails()"
    assert kernel.remote(failing, "T4 --bg surrogates").ok
    assert kernel.run("surrogates.result()").error == "ValueError: \\ud800"
    assert kernel.run("surrogates.done()").value() == "True"
    assert kernel.remote("1").value() == "1"


OWN = """
class Own(BaseException): pass
class Exits:
    def __reduce__(self): raise SystemExit(3)
class Cancels:
    def __getstate__(self): raise Own('mine')
    def __repr__(self): raise KeyboardInterrupt
class Late:
    def __init__(self, part): self.part = part
    def __setstate__(self, state): raise SystemExit('not here')
"""


def test_values_whose_code_raises_anything_stay_alone(kernel: Kernel) -> None:
    ended = kernel.remote(f"{OWN}\nfine = [1]\nfirst, second, third = Exits(), [Cancels()], Late(fine)", timeout=40)
    assert ended.ok, ended.error
    for name, why in {"first": "SystemExit: 3", "second": "Own: mine", "third": "SystemExit: not here"}.items():
        assert why in kernel.run(f"{name}.fetch()").error
    assert kernel.run("fine.append(2)").ok
    assert kernel.remote("third.part.append(len(fine))\nlen(third.part)", timeout=40).value() == "3"
    assert kernel.print("fine") == "[1, 2, 2]"


def test_an_error_of_ours_after_a_cell_is_named(kernel: Kernel) -> None:
    ended = kernel.remote("print('before')\nget_ipython()._cells = None", timeout=40)
    assert ended.stdout == "before\n"
    assert ended.reply["ename"] == "ContainerLost"
    assert (
        "The container ends: what follows a cell failed with AttributeError: 'NoneType' object has no attribute"
        in ended.said
    )
    assert "(container/cell/shell.py, line " in ended.said
    assert kernel.remote("1").value() == "1"


def test_a_cell_that_ends_with_a_lock_for_which_a_finalizer_waits(kernel: Kernel) -> None:
    source = (
        "import sys, threading\nusers, held = threading.Lock(), threading.Event()\nusers.acquire()\n"
        "def finalizer():\n    with sys.stdout._pipes.lock, sys.stdout._emit.__self__._lock:\n"
        "        held.set()\n        users.acquire()\n"
        "threading.Thread(target=finalizer, daemon=True).start()\nheld.wait()\nprint('end')"
    )
    assert kernel.remote(source, timeout=60).stdout == "end\n"
    assert kernel.remote("users.release()\nprint('next')", timeout=60).stdout == "next\n"
    assert kernel.remote("print('last')", timeout=40).stdout == "last\n"
