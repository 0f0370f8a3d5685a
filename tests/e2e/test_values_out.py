"""Names a cell binds or changes are here afterwards; what cannot come stays there, is named, and works in the next cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Pair

from tests.e2e.compare import merged
from tests.e2e.kernel import Kernel

# Each case: a cell there, and what the notebook says of it afterwards.
BINDS = {
    "assignment": ("a = 1", "a"),
    "several targets": ("a = b = [1]", "a, b, a is b"),
    "tuple": ("(a, b), *c = (1, 2), 3, 4", "a, b, c"),
    "augmented": ("a = 1\na += 1", "a"),
    "annotated": ("a: int = 3", "a"),
    "walrus": ("if (a := 4): pass", "a"),
    "walrus in a comprehension": ("[a := x for x in range(3)]", "a"),
    "for": ("for a, b in [(1, 2), (3, 4)]: pass", "a, b"),
    "with": ("import contextlib\nwith contextlib.nullcontext(5) as a: pass", "a"),
    "except": ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    a = str(e)", "a, 'e' in globals()"),
    "match": ("match [1, 2, 3]:\n    case [a, *b]: pass", "a, b"),
    "global in a function": ("def set_it():\n    global a\n    a = 6\nset_it()", "a"),
    "import": ("import string", "string.digits"),
    "import as": ("import collections.abc as a", "a.__name__"),
    "import of a submodule": ("import xml.dom", "xml.dom.__name__"),
    "import from": ("from string import digits as a", "a"),
    "star import": ("from string import *", "hexdigits"),
    "function": ("def a(x=2):\n    'doc'\n    return x * 3", "a(), a.__doc__"),
    "async function": ("async def a():\n    return 3", "a.__name__"),
    "lambda": ("a = lambda x: x + 1", "a(1)"),
    "class": ("class A:\n    def go(self):\n        return 'went'\na = A()", "a.go(), isinstance(a, A)"),
    "decorated": ("import functools\n@functools.cache\ndef a(x):\n    return x", "a(1)"),
    "comprehension leaks nothing": ("a = [leaked for leaked in range(2)]", "a, 'leaked' in globals()"),
    "shell": ("a = !echo one", "list(a)"),
    "timeit": ("a = %timeit -n1 -r1 -o -q 1", "a.loops"),
    "capture": ("%%capture a\nprint('held')", "a.stdout"),
    "second-line magic": ("%%time\na = 7", "a"),
    "exec": ("exec('a = 8')", "a"),
    "globals()": ("globals()['a'] = 9", "a"),
    "names with underscores": ("_a, __b = 1, 2", "_a, __b"),
    "none": ("a = None", "a is None"),
    "array": ("import numpy as np\na = np.arange(3)", "a, a.flags['WRITEABLE']"),
    "array of records": (
        "import numpy as np\na = np.zeros(3, dtype=[('x', 'f4')]).view(np.recarray)",
        "a.x, isinstance(a, np.recarray)",
    ),
    "optimizer": (
        "import torch\na = torch.nn.Linear(1, 1)\nb = torch.optim.LBFGS(a.parameters()); b.tag = 'mine'",
        "b.tag, b._params[0] is a.weight",
    ),
    "frame": ("import pandas as pd\na = pd.DataFrame({'x': [1, 2]})", "a"),
    "tensor": ("import torch\na = torch.arange(3.0, requires_grad=True)", "a"),
    "model": (
        "import torch\ntorch.manual_seed(0)\na = torch.nn.Linear(1, 1)\nb = torch.optim.SGD(a.parameters(), 1)",
        "a.weight, b.param_groups[0]['params'][0] is a.weight",
    ),
    "figure": (
        "import matplotlib.pyplot as plt\na, b = plt.subplots()\nplt.close(a)",
        "type(a).__name__, b.figure is a",
    ),
    "exception": ("a = ValueError('v', 2)", "a.args"),
    "shared": ("a = [1]\nb = {'a': a}", "b['a'] is a"),
    "before an error": ("a = 10\n1 / 0", "a"),
    "in a branch not taken": ("a = 1\nif False: a = 2", "a"),
}


@pytest.mark.parametrize(("there", "here"), BINDS.values(), ids=BINDS.keys())
def test_a_bound_name_is_here(pair: Pair, there: str, here: str) -> None:
    pair.here("for name in ('a', 'b', 'c', 'A', '_a', '__b'): globals().pop(name, None)\ndel name")
    pair.there(there)
    pair.here(here)


# Each case: a value here, a change in place there, and what the notebook says; an alias made here before must agree.
CHANGES = {
    "list": ("v = [1]\nalias = v", "v.append(2)", "v, alias is v"),
    "dict": ("v = {'a': [1]}\nalias = v", "v['a'].append(2); v['b'] = 3", "v, alias is v"),
    "set": ("v = {1}\nalias = v", "v.add(2)", "v, alias is v"),
    "array": ("import numpy as np\nv = np.zeros(3)\nalias = v", "v[1] = 5", "v, alias is v"),
    "array grown by a new one": ("import numpy as np\nv = np.zeros(3)", "v = np.append(v, 1)", "v"),
    "tensor": ("import torch\nv = torch.zeros(3)\nalias = v", "v += 1;", "v, alias is v"),
    "model": ("import torch\nv = torch.nn.Linear(1, 1)", "with torch.no_grad(): v.weight.fill_(5);", "v.weight"),
    "frame": ("import pandas as pd\nv = pd.DataFrame({'a': [1]})", "v['b'] = 2", "v"),
    "attribute": ("class Box: pass\nv = Box()\nv.n = 1", "v.n += 1", "v.n, isinstance(v, Box)"),
    "deep": ("v = {'a': [{'b': [1]}]}", "v['a'][0]['b'].append(2)", "v"),
    "through a function": ("v = []\ndef push(x): v.append(x)", "push(1)", "v"),
    "through another name": ("v = [1]\nw = v", "w.append(2)", "v, w"),
    "random state": ("import random\nv = random.Random(1)", "v.random();", "v.random()"),
    "counter": ("import collections\nv = collections.Counter('a')", "v['a'] += 1", "v"),
    "deque": ("import collections\nv = collections.deque([1])", "v.appendleft(0)", "v"),
    "sorted": ("v = [3, 1, 2]\nalias = v", "v.sort()", "v, alias is v"),
    "emptied": ("v = [1]\nalias = v", "v.clear()", "v, alias is v"),
    "before an error": ("v = [1]", "v.append(2)\n1 / 0", "v"),
    "unchanged": ("v = [1]\nbefore = id(v)", "len(v)", "id(v) == before"),
}


@pytest.mark.parametrize(("before", "there", "here"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_in_place_is_here(pair: Pair, before: str, there: str, here: str) -> None:
    pair.here(before)
    pair.there(there)
    pair.here(here)


def test_an_old_value_here_never_overwrites_a_newer_one_there(pair: Pair) -> None:
    pair.story(
        [
            "HERE\nkept = 1",
            "kept += 1\n1 / 0",
            "kept += 1\nkept",
            "HERE\nkept",
            "HERE\nkept = 10",
            "kept += 1\nkept",
            "HERE\nkept",
        ]
    )


DELETES = {
    "del there": ["gone = 1", "del gone", "HERE\n'gone' in globals()", "'gone' in globals()"],
    "del there of what came from here": ["HERE\ngone = 1", "del gone", "HERE\n'gone' in globals()"],
    "del here": ["gone = 1", "HERE\ndel gone", "'gone' in globals()"],
    "del here, then bound there": ["gone = 1", "HERE\ndel gone", "gone = 2", "HERE\ngone"],
    "del in a function": [
        "gone = 1\ndef drop():\n    global gone\n    del gone",
        "drop()",
        "HERE\n'gone' in globals()",
    ],
    "except clause": [
        "HERE\ne = 5",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    pass",
        "HERE\n'e' in globals()",
    ],
}


@pytest.mark.parametrize("cells", DELETES.values(), ids=DELETES.keys())
def test_a_deletion_holds_on_both_sides(pair: Pair, cells: list[str]) -> None:
    pair.story(cells)


# Each case: what stays there, and what the next cell says of it.
STAYS = {
    "lock": ("import threading\nstays = threading.Lock()", "stays.locked()", "False"),
    "generator": ("stays = (i for i in range(3))\nnext(stays)", "next(stays)", "1"),
    "open file": ("stays = open('mg_there.txt', 'w+')", "stays.name", "'mg_there.txt'"),
    "thread pool": (
        "from concurrent.futures import ThreadPoolExecutor\nstays = ThreadPoolExecutor(1)",
        "stays.submit(lambda: 5).result()",
        "5",
    ),
    "class of there": (
        "import sys, types\nm = types.ModuleType('only_there'); exec('class T:\\n    n = 3', m.__dict__); sys.modules['only_there'] = m\nstays = m.T()",
        "stays.n",
        "3",
    ),
    "too large": ("import numpy as np\nstays = np.ones((1000, 300))", "int(stays.sum())", "300000"),
    "list with a lock": ("import threading\nstays = [1, threading.Lock()]", "stays[0]", "1"),
}


@pytest.mark.parametrize(("there", "later", "value"), STAYS.values(), ids=STAYS.keys())
def test_what_cannot_come_stays_and_works_in_the_next_cell(kernel: Kernel, there: str, later: str, value: str) -> None:
    first = kernel.remote(there, "H100 --fetch 1MB")
    assert first.ok, first.error
    assert kernel.print("type(stays).__name__") == "RemoteValue"
    assert kernel.remote(later).value() == value


USES = {
    "operator": "big + 1",
    "reflected operator": "1 + big",
    "comparison": "big == 1",
    "length": "len(big)",
    "iteration": "list(big)",
    "element": "big[0]",
    "assignment to an element": "big[0] = 1",
    "attribute": "big.sum()",
    "call": "big()",
    "truth": "bool(big)",
    "number": "float(big)",
    "f-string format": "f'{big:.2f}'",
}


class TestRemoteValue:
    """What stands here for a value that stayed there."""

    @pytest.fixture(autouse=True, scope="class")
    @staticmethod
    def _big(kernel: Kernel) -> None:
        kernel.remote("import numpy as np\nbig = np.ones((1000, 300), dtype='float32')", "H100 --fetch 100KB")

    def test_it_shows_what_it_is(self, kernel: Kernel) -> None:
        text = kernel.run("big").value()
        assert all(part in text for part in ("1000", "300", "float32", "1.2 MB")), text

    @pytest.mark.parametrize("source", USES.values(), ids=USES.keys())
    def test_its_use_here_is_a_helpful_error(self, kernel: Kernel, source: str) -> None:
        result = kernel.run(source)
        assert result.reply["ename"] in ("RemoteValueError", "RemoteAttributeError")
        assert "big" in result.reply["evalue"]
        assert ".fetch()" in result.reply["evalue"]

    def test_it_is_fetched(self, kernel: Kernel) -> None:
        assert (
            kernel.run("got = big.fetch()\ngot.shape, got.dtype, float(got.sum())").value()
            == "((1000, 300), dtype('float32'), 300000.0)"
        )

    def test_it_is_not_sent_to_itself(self, kernel: Kernel) -> None:
        assert kernel.remote("type(big).__name__, big.shape").value() == "('ndarray', (1000, 300))"

    def test_an_alias_of_it_is_it(self, kernel: Kernel) -> None:
        kernel.run("other_name = big")
        assert kernel.remote("other_name is big").value() == "True"

    def test_out_brings_it(self, kernel: Kernel) -> None:
        kernel.remote("brought = big * 2", "H100 --fetch 100KB --out brought")
        assert kernel.run("type(brought).__name__, float(brought[0, 0])").value() == "('ndarray', 2.0)"


@pytest.mark.parametrize(
    "source, header",
    [
        ("stayed = stayed", "--fetch 10MB"),
        ("other, stayed = 1, stayed", "--fetch 10MB"),
        ("for stayed in [stayed]: pass", "--fetch 10MB"),
        ("stayed[0] = 0", "--out stayed"),
        ("len(stayed)", "--out stayed"),
        ("1", "--out stayed"),
    ],
)
def test_a_later_cell_brings_what_stayed(kernel: Kernel, source: str, header: str) -> None:
    kernel.remote("stayed = list(range(100_000)); alias = stayed", "H100 --fetch 100KB")
    assert kernel.print("type(stayed).__name__") == "RemoteValue"
    assert kernel.remote(source, f"H100 {header}").ok
    assert kernel.print("len(stayed), type(stayed).__name__") == "100000 list"
    assert kernel.remote("stayed is alias", "H100").value() == "True"


def test_a_frame_that_stays_shows_its_head(kernel: Kernel) -> None:
    kernel.remote("import pandas as pd\ntable = pd.DataFrame({'col': range(100_000)})", "H100 --fetch 1KB")
    (bundle,) = kernel.run("table").bundles()
    assert "<table" in bundle["text/html"]
    assert "100000" in bundle["text/html"]


def test_the_biggest_stays_first(kernel: Kernel) -> None:
    kernel.remote("small, large = bytes(200_000), bytes(900_000)", "H100 --fetch 1MB")
    assert kernel.print("type(small).__name__, type(large).__name__") == "bytes RemoteValue"


def test_what_stayed_is_named_on_the_receipt(kernel: Kernel) -> None:
    result = kernel.remote("stayed_there = bytes(2_000_000)", "H100 --fetch 1MB")
    assert "stayed_there" in result.said
    assert "--fetch" in kernel.run("stayed_there").value()


def test_a_last_expression_that_cannot_come_is_still_shown(kernel: Kernel) -> None:
    result = kernel.remote("import threading\nthreading.Lock()")
    assert "lock object" in result.value()
    assert result.ok


BARE = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def bare() -> Iterator[Kernel]:
    """A kernel in which torch and numpy cannot be imported; the container has them."""
    with Kernel() as kernel:
        kernel.run(BARE)
        kernel.load()
        yield kernel


def test_a_kernel_without_torch_works_with_models_there(bare: Kernel) -> None:
    made = bare.remote(
        "import torch\nmodel = torch.nn.Linear(2, 1)\nx = torch.ones(3, 2)\nloss = model(x).mean().item()"
    )
    assert made.ok, made.error
    assert bare.print("type(model).__name__, type(loss).__name__") == "RemoteValue float"
    assert "Linear" in bare.run("model").value()
    assert bare.remote("tuple(model(x).shape)").value() == "(3, 1)"
    assert "torch" in bare.run("model.fetch()").reply["evalue"]


def test_a_kernel_without_torch_names_the_module_it_could_not_bind(bare: Kernel) -> None:
    bare.remote("import numpy as np\nv = 3")
    assert bare.print("v") == "3"
    assert bare.remote("np.ones(v).sum() == v").ok
    missing = bare.run("np.ones(1)").reply
    assert missing["ename"] == "ModuleNotFoundError"
    assert "%%modal_gpu" in missing["evalue"]


def test_a_result_whose_graph_has_ended_keeps_no_cell_from_running(renewed: Kernel) -> None:
    """A training cell that is run again, in a new container, may read the loss of before: its loop could be empty."""
    train = (
        "import torch\nmodel = torch.nn.Linear(2, 1)\nfor step in range(2):\n    loss = model(torch.ones(1, 2)).sum()\n"
        "    loss.backward()\nprint(loss.shape)"
    )
    for header in ("T4", "T4 --session other"):
        result = renewed.remote(train, header)
        assert (result.error, result.stdout) == ("", "torch.Size([])\n")
    assert renewed.run("%modal_gpu stop").ok
    assert renewed.remote(train, "T4").error == ""
    refused = renewed.remote("print(loss)", "T4 --session other")
    assert "Cannot send `loss`: it is the result of an autograd graph" in refused.error


NOISY = {
    "printed": "print('shown')",
    "printed to standard error": "import sys; print('shown', file=sys.stderr)",
    "displayed": "display('shown')",
    "cleared": "from IPython.display import clear_output; clear_output()",
    "updated": "display('shown', display_id='its', update=True)",
    "warned": "import warnings; warnings.warn('shown')",
    "logged": "import logging; logging.getLogger('noisy').warning('shown')",
    "raised": "raise ValueError('shown')",
}


@pytest.mark.parametrize("does", NOISY.values(), ids=NOISY)
@pytest.mark.parametrize("method", ["__repr__", "_repr_html_"])
def test_what_a_value_shows_while_it_is_described_is_not_output_of_the_cell(
    kernel: Kernel, method: str, does: str
) -> None:
    """A value in an array of numpy is described again by each cell that may have changed it."""
    made = kernel.remote(
        "import numpy as np\n"
        f"class Noisy:\n    def {method}(self):\n        {does}\n        return 'noisy'\n"
        "    def __reduce__(self): raise TypeError('never')\n"
        "noisy = Noisy(); array = np.array([noisy] * 3, dtype=object)\nprint('made')"
    )
    assert merged(made.messages) == [("stream", "made\n")]
    for source in ("array[1] = None; print('changed')", "noisy.x = 1; array[0] = None; print('changed')"):
        changed = kernel.remote(source)
        assert merged(changed.messages) == [("stream", "changed\n")]
    assert kernel.print("type(noisy).__name__, type(array).__name__") == "RemoteValue RemoteValue"
