"""Names of the notebook that a cell reads are there, as what they were: values, functions, classes, modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

# Each case: what is set here, and what a cell there says of it.
VALUES = {
    "numbers": ("v = (1, -2.5, 3j, 10**40, True, None, float('inf'))", "v"),
    "text": ("v = 'é\\n中', b'\\x00\\xff', bytearray(b'a')", "v"),
    "containers": ("v = {'a': [1, (2, {3})], 'b': frozenset({4}), 5: range(6)}", "v"),
    "shared and cyclic": ("a = [1]\nv = {'a': a, 'b': a}\na.append(v)", "v['a'] is v['b'], v['a'][1] is v"),
    "two names, one list": ("one = [1]\ntwo = one", "one is two"),
    "standard library": (
        "import collections, datetime, decimal, fractions, pathlib, re, uuid\n"
        "v = [collections.Counter('aab'), collections.OrderedDict(a=1), collections.deque([1], 2), datetime.date(2026, 1, 2),\n"
        "     datetime.timedelta(1), decimal.Decimal('1.10'), fractions.Fraction(1, 3), pathlib.Path('a/b'), re.compile('a+'), uuid.UUID(int=5)]",
        "v",
    ),
    "default dict": ("import collections\nv = collections.defaultdict(list, a=[1])", "v['b'].append(2); dict(v)"),
    "named tuple": (
        "import collections\nPoint = collections.namedtuple('Point', 'x y')\nv = Point(1, 2)",
        "v, v.x, isinstance(v, Point)",
    ),
    "enum": ("import enum\nclass Color(enum.Enum):\n    RED = 1\nv = Color.RED", "v is Color.RED, v, Color['RED']"),
    "data class": (
        "from dataclasses import dataclass, field, replace\n@dataclass(frozen=True)\nclass Item:\n    name: str\n    tags: list = field(default_factory=list)\nv = Item('a')",
        "v, replace(v, name='b'), v == Item('a'), Item('c')",
    ),
    "random state": ("import random\nrandom_source = random.Random(7)", "random_source.random()"),
    "array": ("import numpy as np\nv = np.arange(6.0).reshape(2, 3)", "v, v.dtype, v.flags['WRITEABLE']"),
    "arrays of every kind": (
        "import numpy as np\nv = [np.array(5), np.asfortranarray(np.eye(2)), np.arange(10)[::3], np.array(['a', None], dtype=object),\n"
        "     np.zeros(0), np.array([(1, 2.0)], dtype=[('i', 'i4'), ('f', 'f8')]), np.datetime64('2026-01-02'), np.bool_(True)]",
        "[(type(x).__name__, x.dtype, x.tolist()) for x in v]",
    ),
    "masked": ("import numpy as np\nv = np.ma.masked_array([1, 2], mask=[False, True])", "v"),
    "generator of numpy": ("import numpy as np\nrng = np.random.default_rng(3)", "rng.integers(100, size=3)"),
    "frame": (
        "import pandas as pd\nv = pd.DataFrame({'d': pd.date_range('2026-01-01', periods=2), 'c': pd.Categorical(['x', 'y']), 's': ['é', None], 'n': [1.5, None]}).set_index('d')",
        "v, v.dtypes, v.index.freq",
    ),
    "series view": (
        "import pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})\ncolumn = frame['a']",
        "column.sum(), frame.a.equals(column)",
    ),
    "sparse": ("import scipy.sparse as sp\nv = sp.eye(3, format='csr')", "v.toarray()"),
    "tensor": (
        "import torch\nv = torch.arange(4.0, requires_grad=True)",
        "v, v.is_leaf, (v * 2).sum().backward() or v.grad",
    ),
    "views share their storage": (
        "import torch\nbase = torch.zeros(6)\nview = base[2:4]\nturned = base.view(2, 3).t()",
        "base[2] = 7; view, turned, view.data_ptr() - base.data_ptr(), turned.is_contiguous()",
    ),
    "tensors of every kind": (
        "import torch\nv = [torch.tensor(3), torch.zeros(0), torch.ones(2, dtype=torch.bfloat16), torch.tensor([True]), torch.eye(2).to_sparse(), torch.nn.Parameter(torch.ones(1)), torch.tensor([1+2j])]",
        "v",
    ),
    "device, dtype, size": ("import torch\nv = torch.device('cpu'), torch.float16, torch.zeros(2, 3).shape", "v"),
    "model and optimizer": (
        "import torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(2, 1)\noptimizer = torch.optim.Adam(model.parameters())\nmodel(torch.ones(1, 2)).sum().backward()",
        "optimizer.step(); optimizer.param_groups[0]['params'][0] is model.weight, model.weight, model.weight.grad",
    ),
    "tied weights": (
        "import torch\ntorch.manual_seed(0)\nnet = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))\nnet[1].weight = net[0].weight",
        "net[0].weight is net[1].weight, len(list(net.parameters()))",
    ),
    "scikit-learn": (
        "from sklearn.linear_model import LinearRegression\nfit = LinearRegression().fit([[0], [1]], [0, 2])",
        "fit.predict([[2]]).round(6)",
    ),
    "function": ("def f(x, *, y=2):\n    'doc'\n    return x + y", "f(1), f.__doc__, f.__name__, f.__kwdefaults__"),
    "function with globals": ("scale = 3\ndef scaled(x):\n    return x * scale", "scaled(2)"),
    "functions that call": ("def inner(x):\n    return x + 1\ndef outer(x):\n    return inner(inner(x))", "outer(1)"),
    "recursion": ("def fact(n):\n    return 1 if n < 2 else n * fact(n - 1)", "fact(20)"),
    "mutual recursion": (
        "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)",
        "even(10), odd(10)",
    ),
    "closure": (
        "def adder(n):\n    def add(x):\n        return x + n\n    return add\nadd_two = adder(2)",
        "add_two(3)",
    ),
    "closure with state": (
        "def counter():\n    n = 0\n    def tick():\n        nonlocal n\n        n += 1\n        return n\n    return tick\ntick = counter()\ntick()",
        "tick(), tick()",
    ),
    "decorated": (
        "import functools\ndef loud(f):\n    @functools.wraps(f)\n    def inner(*a):\n        return f'{f(*a)}!'\n    return inner\n@loud\ndef hello(who):\n    return f'hello {who}'",
        "hello('Ada'), hello.__name__, hello.__wrapped__('Bo')",
    ),
    "cached": (
        "import functools\n@functools.lru_cache\ndef slow(x):\n    return x * 2",
        "slow(2), slow(2), slow.cache_info().hits",
    ),
    "partial": ("import functools\nadd = functools.partial(pow, 2, mod=5)", "add(3)"),
    "lambda": ("k = 4\ntimes = lambda x: x * k", "times(2), list(map(times, [1, 2]))"),
    "generator function": ("def three():\n    yield from range(3)", "list(three())"),
    "coroutine function": (
        "import asyncio\nasync def later(x):\n    await asyncio.sleep(0)\n    return x",
        "await later(3)",
    ),
    "module in a function": ("import math\ndef root(x):\n    return math.sqrt(x)", "root(9)"),
    "import in a function": ("def root(x):\n    from math import sqrt\n    return sqrt(x)", "root(9)"),
    "annotations": (
        "from typing import Optional\ndef f(x: Optional[int] = None) -> str:\n    return str(x)",
        "f(1), f.__annotations__",
    ),
    "class": (
        "class Account:\n    rate = 2\n    def __init__(self, n):\n        self.n = n\n    @property\n    def double(self):\n        return self.n * self.rate\n"
        "    @classmethod\n    def of(cls, n):\n        return cls(n)\n    @staticmethod\n    def word():\n        return 'w'\n    def __eq__(self, other):\n        return self.n == other.n\naccount = Account(3)",
        "account.double, Account.of(3) == account, Account.word(), isinstance(account, Account), type(account) is Account, Account.__module__",
    ),
    "inheritance": (
        "import abc\nclass Shape(abc.ABC):\n    @abc.abstractmethod\n    def area(self): ...\n    def twice(self):\n        return 2 * self.area()\n"
        "class Square(Shape):\n    def __init__(self, side):\n        super().__init__()\n        self.side = side\n    def area(self):\n        return self.side ** 2\nsquare = Square(3)",
        "square.twice(), isinstance(square, Shape), issubclass(Square, Shape), [c.__name__ for c in Square.__mro__]",
    ),
    "slots": (
        "class Slim:\n    __slots__ = ('a',)\n    def __init__(self):\n        self.a = 1\nslim = Slim()",
        "slim.a, Slim.__slots__",
    ),
    "metaclass": (
        "class Meta(type):\n    def __len__(cls):\n        return 5\nclass With(metaclass=Meta):\n    pass",
        "len(With), type(With).__name__",
    ),
    "typing": (
        "import typing\nclass Row(typing.NamedTuple):\n    a: int\n    b: str = 'x'\nrow = Row(1)",
        "row, Row(2, 'y')",
    ),
    "own module class": (
        "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.layer = torch.nn.Linear(1, 1, bias=False)\n    def forward(self, x):\n        return self.layer(x)\ntorch.manual_seed(0)\nnet_of_mine = Net()",
        "net_of_mine(torch.ones(1, 1)), isinstance(net_of_mine, Net), net_of_mine",
    ),
    "own dataset": (
        "import torch\nclass Squares(torch.utils.data.Dataset):\n    def __len__(self):\n        return 4\n    def __getitem__(self, i):\n        return i * i\nsquares = Squares()",
        "[b.tolist() for b in torch.utils.data.DataLoader(squares, batch_size=2)]",
    ),
    "modules": (
        "import numpy as np, os.path as osp, collections.abc, json",
        "np.__name__, osp.join('a', 'b'), collections.abc.Mapping.__name__, json.dumps(1)",
    ),
    "imported names": (
        "from math import sqrt, pi as PI\nfrom collections import Counter as C",
        "sqrt(4), PI > 3, C('a')",
    ),
    "module in a container": ("import math\ntools = {'m': math}", "tools['m'].floor(1.5)"),
    "bound method": ("words = ['b', 'a']\ncount = words.count", "count('a')"),
    "exception": ("held = ValueError('x', 1)", "held.args, isinstance(held, ValueError)"),
    "type hints of 3.10": ("hint = dict[str, int | None]", "hint"),
}


@pytest.mark.parametrize(("here", "there"), VALUES.values(), ids=VALUES.keys())
def test_a_value_is_there_as_it_was_here(pair: Pair, here: str, there: str) -> None:
    pair.here(here)
    pair.there(there)


# Sources whose free names are easily read wrongly. `n`, `xs`, `word`, `f`, `d`, `Base`, `deco` exist here.
NAMES = """
n, m, xs, word, d = 10, 5, [1, 2, 3], "abc", {"k": 1}
f = lambda x=1: x + n
deco = lambda g: g
class Base: base = 1
"""

READS = {
    "comprehension variable": "[n for n in range(2)], n",
    "comprehension of a global": "[x + n for x in xs]",
    "nested comprehension": "[[n + i for i in row] for row in ([1], [2])]",
    "iterable of a comprehension": "[xs for xs in xs]",
    "condition of a comprehension": "[x for x in range(3) if x < m]",
    "generator": "sum(x * n for x in xs)",
    "class body": "class A(Base):\n    n = n + 1\n    m = [n for _ in range(1)]\nA.n, A.m, A.base",
    "class body reads": "class B:\n    a = word\n    def go(self):\n        return xs\nB.a, B().go()",
    "global statement": "def g():\n    global n\n    n += 1\n    return n\ng(), n",
    "read in a function": "def g():\n    return n\ng()",
    "bound in a function": "def g():\n    xs = 1\n    return xs\ng()",
    "bound later": "old = xs\nxs = [0]\nold, xs",
    "augmented": "n += 1\nn",
    "augmented element": "xs[0] += 1\nxs",
    "walrus": "if (w := m) > 1: print(w)\n[y := x for x in xs], y",
    "match value": "match d:\n    case {'k': v}: print(v)\n    case _: print('none')",
    "match capture": "match (n, xs):\n    case (p, [first, *rest]): print(p, first, rest)",
    "match class": "match Base():\n    case Base(base=b): print(b)",
    "f-string": "f'{n:>{m}} {word!r} {xs[0]}'",
    "nested f-string": "f\"{', '.join(f'{x}-{n}' for x in xs)}\"",
    "decorator": "@deco\ndef g(): return 1\ng()",
    "default argument": "def g(x=n, *, y=word): return x, y\ng()",
    "annotation": "def g(x: Base) -> Base: return x\ng(1)",
    "annotated name": "z: int = n\nz",
    "lambda": "(lambda x: x + n)(1)",
    "lambda default": "(lambda x=m: x)()",
    "star": "[*xs, *word], {**d}",
    "keyword": "dict(a=n, **d)",
    "subscript": "xs[m - 4], word[::m]",
    "del": "del xs\n'xs' in globals()",
    "del element": "del d['k']\nd",
    "read, then del": "t = n\ndel n\nt",
    "star import": "from math import *\nfloor(n / 3)",
    "try": "try:\n    n / 0\nexcept ZeroDivisionError as e:\n    print(word, e)\nelse:\n    xs\nfinally:\n    print(m)",
    "with": "import contextlib\nwith contextlib.nullcontext(xs) as ys: print(ys)",
    "for": "for i in xs: pass\ni",
    "for over itself": "for n in range(n): pass\nn",
    "while": "while n > 8: n -= 1\nn",
    "nonlocal": "def g():\n    n = 1\n    def h():\n        nonlocal n\n        n += 1\n        return n\n    return h()\ng(), n",
    "conditional binding": "if False: xs = 0\nxs",
    "unbound on one way": "if m > 100: word = 'long'\nword",
    "assert message": "assert True, word\nn",
    "chained": "a = b = n\na, b",
    "unpacked": "a, (b, *c) = n, xs\na, b, c",
    "builtin shadowed": "sum = n\nprint(sum)\ndel sum",
    "type alias": "from typing import List\nx: List[int] = xs\nx",
    "slice of a call": "f(n)[m:] if False else f()",
    "timeit": "%timeit -n1 -r1 -q f(n)",
    "time": "%time f(n)",
    "shell braces": "!echo {word} {n + 1} {xs[0]}",
    "shell dollar": "!echo $word $n",
    "shell into a name": "lines = !echo {word}\nlines",
    "magic with braces": "%env MG_E={word}",
    "only in a second-line magic": "%%timeit -n1 -r1 -q\nf(n)",
    "time as a second line": "%%time\nf(n)",
    "bash with braces": "%%bash -s {word}\necho $1",
    "help of a name": "word.upper()  # word? is not asked",
    "globals()": "globals()['n'] if 'n' in globals() else n",
    "eval of a read name": "n; eval('n + 1')",
    "await of a read name": "import asyncio\nawait asyncio.sleep(0, n)",
    "non-breaking space": "a\u00a0= n\na".replace("\u00a0", " "),
}


@pytest.mark.parametrize("source", READS.values(), ids=READS.keys())
def test_names_are_read_rightly(pair: Pair, source: str) -> None:
    pair.here(NAMES)
    pair.there(source)


def test_a_name_that_was_not_seen_is_named(kernel: Kernel) -> None:
    kernel.run("hidden = 41")
    result = kernel.remote("getattr(__import__('builtins'), 'ev' + 'al')('hid' + 'den')")
    assert result.reply["ename"] == "NameError"
    assert "--in hidden" in result.traceback + result.said


def test_in_sends_what_was_not_seen(kernel: Kernel) -> None:
    kernel.run("sent_by_hand, also = 41, 42")
    assert (
        kernel.remote("eval('sent_' + 'by_hand'), eval('al' + 'so')", "H100 --in sent_by_hand,also").value()
        == "(41, 42)"
    )


def test_no_in_keeps_a_name_here(kernel: Kernel) -> None:
    kernel.run("kept_here = 5")
    result = kernel.remote("kept_here", "H100 --no-in kept_here")
    assert result.reply["ename"] == "NameError"


def test_a_name_that_exists_nowhere_has_no_hint(kernel: Kernel) -> None:
    result = kernel.remote("exists_nowhere")
    assert "--in" not in result.traceback + result.said


AGREE = [
    "HERE\nclass Pet:\n    def __init__(self, name):\n        self.name = name\n    def call(self):\n        return f'{self.name}, {suffix}'\nsuffix = 'here'\nrex = Pet('Rex')",
    "isinstance(rex, Pet), rex.call()",
    "tom = Pet('Tom')\ntype(tom) is type(rex)",
    "HERE\nisinstance(tom, Pet), type(tom) is Pet, tom.call()",
    "class Cat(Pet): pass\ncat = Cat('Cat')",
    "HERE\nisinstance(cat, Pet), isinstance(cat, Cat), Cat.__mro__[1] is Pet",
    "HERE\nsuffix = 'changed'\nbob = Pet('Bob')",
    "[isinstance(p, Pet) for p in (rex, tom, cat, bob)], bob.call(), cat.call()",
    "HERE\nclass Pet:\n    def call(self):\n        return 'second'\nnew = Pet()",
    "isinstance(new, Pet), isinstance(rex, Pet), new.call(), isinstance(Pet(), type(new))",
    "HERE\nisinstance(new, Pet), isinstance(rex, Pet)",
]


def test_classes_agree_over_many_cells(pair: Pair) -> None:
    pair.story(AGREE)


EDITS = [
    "HERE\nfactor = 2\ndef part(x):\n    return x * factor\ndef whole(x):\n    return part(x) + 1",
    "whole(3)",
    "HERE\ndef part(x):\n    return -x * factor",
    "whole(3)",
    "HERE\nfactor = 10",
    "whole(3)",
    "factor = 100\nwhole(3)",
    "HERE\nwhole(3), factor",
]


def test_edits_of_what_a_function_uses_are_seen(pair: Pair) -> None:
    pair.story(EDITS)


REFUSED = {
    "generator": ("ticks = (i for i in range(3))", "list(ticks)", "ticks"),
    "lock": ("import threading\nlock = threading.Lock()", "lock.locked()", "lock"),
    "open file": ("handle = open('mg_open.txt', 'w')", "handle.name", "handle"),
    "inside a list": ("import threading\nbox = [1, {'deep': threading.Lock()}]", "box[0]", "box"),
    "credential by name": ("api_key = 'a1b2c3d4e5'", "api_key", "api_key"),
    "credential by shape": ("setting = 'sk-' + 'a1B2c3D4' * 6", "setting", "setting"),
}


@pytest.mark.parametrize(("here", "there", "name"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_travel_is_named_before_anything_runs(kernel: Kernel, here: str, there: str, name: str) -> None:
    kernel.run(here)
    result = kernel.remote(f"print('ran')\n{there}")
    assert not result.ok
    assert result.reply["ename"] == "TransferError"
    assert result.stdout == ""
    assert name in result.reply["evalue"]


OF_THE_KERNEL = {
    "a logger": "import logging\nv = logging.getLogger('some')",
    "a logger in an object": "class Trainer: pass\nv = Trainer(); v.log = logging.getLogger('some')",
    "an adapter of a logger": "v = logging.LoggerAdapter(logging.getLogger('some'), {})",
    "a handler of messages": "v = logging.StreamHandler()",
    "standard output": "import sys\nv = sys.stdout",
    "a widget": "import ipywidgets\nv = ipywidgets.IntProgress()",
    "a widget that shows output": "v = ipywidgets.Output()",
    "an image of the SDK": "import modal\nv = [modal.Image.debian_slim]",
}


@pytest.mark.parametrize("here", OF_THE_KERNEL.values(), ids=OF_THE_KERNEL.keys())
def test_a_value_that_is_linked_to_the_kernel_takes_no_other_along(kernel: Kernel, here: str) -> None:
    """The other value cannot be loaded: a cell that took it along would fail."""
    assert kernel.run("class Trap:\n    def __reduce__(self): return int, ('x',)\ntrap = Trap()").ok
    assert kernel.run(here).ok
    result = kernel.remote("print(type(v).__name__)")
    assert result.ok, result.error
    assert kernel.run("del trap, v").ok


def test_what_cannot_travel_does_not_matter_where_it_is_not_read(kernel: Kernel) -> None:
    kernel.run("import threading\nunread_lock = threading.Lock()\nunread_password = 'a1b2c3d4e5'")
    assert kernel.remote("'fine'").value() == "'fine'"


def test_a_credential_travels_when_it_is_asked_for(kernel: Kernel) -> None:
    kernel.run("asked_password = 'opensesame'")
    assert kernel.remote("asked_password", "H100 --in asked_password").value() == "'opensesame'"


def test_what_is_over_the_limit_is_named_with_its_option(kernel: Kernel) -> None:
    kernel.run("import numpy as np\nheavy = np.ones(1_000_000)")
    result = kernel.remote("heavy.sum()", "H100 --send 1MB")
    assert result.reply["ename"] == "TransferError"
    assert "heavy" in result.reply["evalue"]
    assert "--send" in result.reply["evalue"]
    assert kernel.remote("int(heavy.sum())", "H100 --send 16MB").value() == "1000000"


def test_a_small_file_named_by_a_literal_path_travels(kernel: Kernel) -> None:
    kernel.run("from pathlib import Path\nPath('rows.csv').write_text('a,b\\n1,2\\n')")
    assert (
        kernel.remote("import pandas as pd\npd.read_csv('rows.csv').to_dict('list')").value() == "{'a': [1], 'b': [2]}"
    )
    kernel.run("Path('rows.csv').write_text('a,b\\n3,4\\n')")
    assert kernel.remote("open('rows.csv').read()").value() == "'a,b\\n3,4\\n'"


def test_the_working_directory_there_is_empty_but_for_what_travelled(kernel: Kernel) -> None:
    kernel.run("from pathlib import Path\nPath('unnamed.txt').write_text('x')")
    result = kernel.remote("open('txt.demannu'[::-1])")
    assert result.reply["ename"] == "FileNotFoundError"
    assert "unnamed.txt exists on the kernel's machine" in result.traceback + result.said


def test_a_name_has_again_the_value_that_it_had_before_it_shared_an_object(pair: Pair) -> None:
    """The state of the name alone was noted; the name was sent since as a part of another group of names."""
    pair.story(
        [
            "row = [1]\nagain = None",
            "HERE\nagain = {'row': row}",
            "row, again",
            "HERE\nagain = None",
            "row, again, 'again' in globals()",
            "again = [row]",
            "HERE\nagain = 5",
            "again",
            "HERE\nagain = [row]",
            "again[0] is row",
            "HERE\nagain = 5",
            "again",
        ]
    )
