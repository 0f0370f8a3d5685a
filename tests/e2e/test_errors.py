"""A cell's error is raised in the notebook with the cell's own traceback, lines and source, as if it had run here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

SAME = {
    "plain": "1 / 0",
    "on its line": "a = 1\n\n\nb = a / 0\nc = 2",
    "in a function": "def f(n):\n    return 1 / n\n\ndef g():\n    return f(0)\n\ng()",
    "in a method": "class A:\n    def go(self):\n        raise RuntimeError('gone')\n\nA().go()",
    "in a comprehension": "[1 / n for n in (2, 1, 0)]",
    "in a decorator": "def twice(f):\n    def inner(*a):\n        return f(*a) + f(*a)\n    return inner\n\n@twice\ndef bad(x):\n    return x.nothing\n\nbad(1)",
    "in a lambda": "(lambda x: x['k'])({})",
    "in a generator": "def g():\n    yield 1\n    raise KeyError('k')\nlist(g())",
    "in a library": "import json\njson.loads('{')",
    "in numpy": "import numpy as np\nnp.zeros(2) @ np.zeros(3)",
    "in torch": "import torch\ntorch.zeros(2) @ torch.zeros(3)",
    "in pandas": "import pandas as pd\npd.DataFrame({'a': [1]})['b']",
    "after an await": "import asyncio\nawait asyncio.sleep(0)\nraise ValueError('awake')",
    "in a coroutine": "async def f():\n    raise ValueError('inside')\nawait f()",
    "cause": "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('no k') from e",
    "context": "try:\n    {}['k']\nexcept KeyError:\n    raise ValueError('no k')",
    "context suppressed": "try:\n    {}['k']\nexcept KeyError:\n    raise ValueError('no k') from None",
    "three deep": "try:\n    try:\n        1/0\n    except Exception as e:\n        raise KeyError('k') from e\nexcept Exception as e:\n    raise ValueError('v') from e",
    "own class": "class Own(Exception):\n    pass\n\nraise Own('text', 5)",
    "own class with a message": "class Own(Exception):\n    def __init__(self, a, b):\n        super().__init__(f'{a} and {b}')\n\nraise Own(1, 2)",
    "own class with state": "class Own(Exception):\n    def __init__(self, *, code):\n        self.code = code\n    def __str__(self):\n        return f'code {self.code}'\n\nraise Own(code=7)",
    "own base class": "class Own(BaseException):\n    pass\nraise Own('base')",
    "cannot be pickled": "import threading\nclass Held(Exception):\n    def __init__(self):\n        self.lock = threading.Lock()\n    def __str__(self):\n        return 'held'\nraise Held",
    "no message": "raise ValueError",
    "message of two lines": "raise ValueError('one\\ntwo')",
    "assertion": "x = 3\nassert x == 4, f'x is {x}'",
    "bare assertion": "x = 3\nassert x == 4",
    "name": "never_bound_anywhere",
    "attribute, with a hint": "import math\nmath.sqr",
    "import": "import no_such_module_at_all",
    "import from": "from math import no_such_name",
    "thirty frames deep": "def down(n):\n    return down(n - 1) if n else 1 / 0\ndown(30)",
    "unicode": "raise ValueError('é 中')",
    "os error": "open('/no/such/file')",
    "unicode error": "b'\\xff'.decode()",
    "system exit": "import sys\nsys.exit(3)",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "stop iteration": "next(iter([]))",
    "syntax": "a = 1\nb = = 2",
    "syntax in a function": "def f(:\n    pass",
    "unclosed": "print('a'",
    "indentation": "if True:\nprint(1)",
    "tab": "if True:\n\tx = 1\n        y = 2",
    "await nothing": "await 3",
    "after output": "print('before', flush=True)\nimport sys\nprint('and', file=sys.stderr, flush=True)\n1 / 0",
    "after an unfinished line": "print('before', end='', flush=True)\n1 / 0",
    "after a display": "display('before')\n1 / 0",
    "shown, then raised": "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\nraise ValueError",
    "from exec": "exec('1 / 0')",
    "in a magic": "%timeit -n1 -r1 1 / 0",
    "no such magic": "%no_such_magic_at_all",
    "no such cell magic": "print(1)\n%%no_such_magic_at_all\nx",
    "wrong use of a magic": "%timeit -z",
    "failed bash": "%%bash\necho out\nexit 3",
    "check_call": "import subprocess\nsubprocess.run(['false'], check=True)",
}
if sys.version_info >= (3, 11):
    SAME |= {
        "group": "raise ExceptionGroup('both', [ValueError('a'), KeyError('b')])",
        "group, raised inside": "try:\n    1 / 0\nexcept Exception as e:\n    raise ExceptionGroup('one', [e])",
        "note": "e = ValueError('v')\ne.add_note('and more')\nraise e",
        "task group": "import asyncio\nasync def bad():\n    raise ValueError('bad')\nasync with asyncio.TaskGroup() as tasks:\n    tasks.create_task(bad())",
    }


@pytest.mark.parametrize("source", SAME.values(), ids=SAME.keys())
def test_an_error_looks_as_it_would_here(pair: Pair, source: str) -> None:
    result = pair.there(source, ordered=False)
    assert not result.ok


STORIES = {
    "function of an earlier cell": ["def late(n):\n    # a comment\n    return 1 / n", "print('calling')\nlate(0)"],
    "redefined": [
        "def twice_made(n):\n    return 1 / n",
        "def twice_made(n):\n    # second\n    return 2 / n",
        "twice_made(0)",
    ],
    "class of here": ["HERE\nclass Here(Exception):\n    pass", "raise Here('x')"],
    "function of there, used here": ["def from_there(n):\n    return 1 / n", "HERE\nfrom_there(1)"],
    "after an error": ["kept = 1\n1 / 0", "kept"],
    "state of the traceback": ["1 / 0", "HERE\nimport sys\ntype(sys.last_value).__name__, str(sys.last_value)"],
}


@pytest.mark.parametrize("cells", STORIES.values(), ids=STORIES.keys())
def test_a_story_of_errors_looks_as_it_would_here(pair: Pair, cells: list[str]) -> None:
    pair.story(cells)


def test_a_function_of_here_shows_its_source(kernel: Kernel) -> None:
    kernel.run("def from_here(n):\n    # written here\n    return 1 / n")
    result = kernel.remote("from_here(0)")
    assert "----> 2 from_here(0)" in result.traceback
    assert "----> 3     return 1 / n" in result.traceback


def test_system_exit_has_its_words(kernel: Kernel) -> None:
    """Not differential: IPython's advice on how to exit is a warning, shown once a kernel."""
    assert kernel.remote("raise SystemExit('over')").error == "SystemExit: over"


def test_the_tenth_run_has_the_right_lines(pair: Pair) -> None:
    source = "def again(n):\n    return 10 / (9 - n)\n\nturn = globals().get('turn', -1) + 1\nagain(turn)"
    for turn in range(10):
        assert pair.there(source).ok == (turn < 9)
    pair.there(source.replace("\n\n", "\n\n\n\n").replace("turn = ", "turn = 8 or "))


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("1 / 0", "ZeroDivisionError division by zero"),
        ("{}['k']", "KeyError 'k'"),
        (
            "import json\njson.loads('{')",
            "JSONDecodeError Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            "import subprocess\nsubprocess.run('exit 3', shell=True, check=True)",
            "CalledProcessError Command 'exit 3' returned non-zero exit status 3.",
        ),
        ("class Own(Exception): pass\nraise Own('a', 2)", "Own ('a', 2)"),
    ],
)
def test_an_error_is_caught_here_by_its_class(kernel: Kernel, source: str, caught: str) -> None:
    """The exception is the cell's own object, not a wrapper: `except KeyError` around a cell works."""
    cell = f"try:\n    get_ipython().run_cell_magic('modal_gpu', 'H100', {source!r})\nexcept Exception as e:\n    print(type(e).__name__, e)"
    assert kernel.run(cell).stdout == caught + "\n"


def test_a_class_sent_from_here_is_caught_here(kernel: Kernel) -> None:
    kernel.run(
        "class Mine(Exception):\n    def __init__(self, code):\n        super().__init__(code)\n        self.code = code"
    )
    cell = (
        "try:\n    get_ipython().run_cell_magic('modal_gpu', '', 'raise Mine(7)')\nexcept Mine as e:\n    print(e.code)"
    )
    assert kernel.run(cell).stdout == "7\n"


ODD = """
import sys, types
only_there = types.ModuleType("only_there")
exec("class Odd(ValueError): pass", only_there.__dict__)
sys.modules["only_there"] = only_there
raise only_there.Odd("strange", 3)
"""


def test_a_class_that_does_not_exist_here_has_a_stand_in(kernel: Kernel) -> None:
    result = kernel.remote(ODD)
    assert not result.ok
    assert "Odd" in result.error
    assert "('strange', 3)" in result.error
    assert "Odd" in result.traceback
    assert "raise only_there.Odd" in result.traceback


def test_no_frame_of_ours_is_shown(kernel: Kernel) -> None:
    result = kernel.remote("def f():\n    raise ValueError('x')\nf()")
    assert "modal" not in result.traceback.replace("%%modal_gpu", "")


def test_a_wrong_line_is_one_sentence_and_no_frames(kernel: Kernel) -> None:
    result = kernel.remote("print('never')", "H10O")
    assert not result.ok
    assert result.stdout == ""
    assert "H100" in result.error
    assert "File " not in result.traceback
    assert "site-packages" not in result.traceback


@pytest.mark.parametrize(
    "header", ["H100 --session invalid", "H100:8 --nodes 2", "H100:2 --torchrun", "H100 --session i --bg b"]
)
def test_a_cell_that_is_no_python_starts_nothing(kernel: Kernel, header: str) -> None:
    failed = kernel.remote("x = 1\n1/0 if", header)
    assert failed.error.startswith("SyntaxError: invalid syntax")
    assert "line 3" in failed.traceback, "of the cell, its header counted"
    assert "modal_gpu_magic/" not in failed.traceback
    assert "simulated" not in failed.said, "no receipt: nothing was spent"
