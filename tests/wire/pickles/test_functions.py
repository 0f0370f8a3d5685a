"""Functions and classes of a notebook between two processes: their globals, their identity, over many hops."""

from __future__ import annotations

import builtins
import functools
import importlib
import sys
import tokenize
from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.transfer import pack, unpack
from modal_gpu_magic.wire.values.referenced_globals import reach
from tests.wire.far_side import FarSide, new_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTEBOOK = """
import abc, contextlib, dataclasses, enum, functools, math, typing

scale = 3

def helper(x):
    return x * scale

def main(x):
    return Model().run(x)

class Model:
    def run(self, x):
        return helper(x)

class Child(Model):
    def run(self, x):
        return super().run(x) + 1

def factorial(n):
    return 1 if n == 0 else n * factorial(n - 1)

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def counter():
    count = 0
    def step():
        nonlocal count
        count += 1
        return count * scale
    return step

step = counter()

@dataclasses.dataclass
class Point:
    x: int
    y: int = 2
    tags: list = dataclasses.field(default_factory=list)

    def norm(self):
        return math.hypot(self.x, self.y)

@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

    @property
    def shown(self):
        return self.name.lower()

class Pair(typing.NamedTuple):
    a: int
    b: str = "b"

class Base(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

class Square(Base):
    def area(self):
        return scale ** 2

def twice(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) * 2
    return wrapper

@twice
def decorated(x):
    return helper(x)

@functools.lru_cache(maxsize=7)
def cached(x):
    return helper(x)

class Lazy:
    @functools.cached_property
    def value(self):
        return helper(5)

    @functools.lru_cache
    def method(self):
        return scale

    @staticmethod
    def static(x):
        return helper(x)

    @classmethod
    def made(cls):
        return cls()

    @property
    def prop(self):
        return scale

@contextlib.contextmanager
def managed():
    yield scale

UserId = typing.NewType("UserId", int)
T = typing.TypeVar("T")
P = typing.ParamSpec("P")

class Box(typing.Generic[T]):
    def __init__(self, item: T): self.item = item

def typed(user: UserId, box: Box[int], call: typing.Callable[P, T] = None) -> typing.Optional[Point]:
    return scale

partial = functools.partial(helper, 5)
bound = Model().run
lam = lambda x: helper(x) + scale
default = lambda x, f=helper: f(x)
inst = Model()
point = Point(3, 4, ["t"])
table = {"f": helper, "c": [Model, lam]}
"""

EXPRESSIONS = [
    ("main", "main(2)", 6),
    ("inst", "inst.run(2)", 6),
    ("Child", "Child().run(2)", 7),
    ("factorial", "factorial(5)", 120),
    ("even odd", "(even(10), odd(10))", (True, False)),
    ("step", "(step(), step())", (3, 6)),
    ("Point", "(Point(3, 4).norm(), Point(3) == Point(3), repr(Point(1)))", (5.0, True, "Point(x=1, y=2, tags=[])")),
    ("point", "(point.norm(), point.tags)", (5.0, ["t"])),
    ("Frozen", "(Frozen(1) == Frozen(1), hash(Frozen(1)) == hash(Frozen(1)))", (True, True)),
    ("Colour", "(Colour.RED is Colour(1), Colour.BLUE.shown, list(Colour)[0] is Colour.RED)", (True, "blue", True)),
    ("Pair", "(Pair(1).b, Pair(1)._replace(a=2).a)", ("b", 2)),
    ("Square", "Square().area()", 9),
    ("decorated", "decorated(2)", 12),
    ("cached", "(cached(2), cached(2), cached.cache_info().hits, cached.cache_parameters()['maxsize'])", (6, 6, 1, 7)),
    (
        "Lazy",
        "(lambda it: (it.value, it.value, it.method(), it.static(1), it.prop, type(it.made()) is Lazy))(Lazy())",
        (15, 15, 3, 3, 3, True),
    ),
    ("managed", "(lambda m: m.__enter__())(managed())", 3),
    ("typed UserId Box", "(typed(UserId(1), Box(2)), UserId.__supertype__ is int, Box[int](3).item)", (3, True, 3)),
    ("partial", "partial()", 15),
    ("bound", "bound(2)", 6),
    ("lam", "lam(2)", 9),
    ("default", "default(2)", 6),
    ("table", "(table['f'](1), table['c'][0]().run(1), table['c'][1](1))", (3, 3, 6)),
]


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[dict[str, Any], FarSide]]:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        yield near, far


@pytest.mark.parametrize(("names", "expression", "value"), EXPRESSIONS)
def test_works_there_as_here(sides: tuple[dict[str, Any], FarSide], names: str, expression: str, value: Any) -> None:
    near, far = sides
    sent = reach(names.split(), near)
    assert far.send(*sent) == {}
    assert far.run(expression) == value
    home = far.bring(*names.split())
    assert home.failed == {}
    if "step" not in names:  # it counts on
        assert eval(expression, near) == value


ALIAS = "type Alias[T] = list[T]" if sys.version_info >= (3, 12) else "Alias = list"


def test_what_pickle_knows_only_by_the_name_of_a_variable() -> None:
    near = new_namespace()
    exec(f"{NOTEBOOK}\n{ALIAS}\ndef aliased(x: Alias[int]) -> UserId: return x", near)
    with FarSide(near) as far:
        assert far.send("aliased", "Alias", "UserId", "P", "T") == {}
        assert far.run("(aliased(1), str(Alias), UserId.__name__, P.__name__, T.__name__)") == (
            (1, str(near["Alias"]), "UserId", "P", "T")
        )
        assert far.run("UserId.__module__") == "__main__"


def test_a_library_s_own_go_by_name() -> None:
    store = InlineStore()
    values = {"cached": tokenize._compile, "stream": functools.partial(print, file=sys.stdout)}  # type: ignore[attr-defined]  # the standard library has few such
    arrived = unpack(pack(values, {}, store), {}, store)
    assert arrived.values["cached"] is values["cached"]
    assert arrived.values["stream"].keywords["file"] is sys.stdout


@pytest.mark.parametrize(
    "module, name",
    [
        ("IPython.core.magic", "line_magic"),
        ("matplotlib.rcsetup", "validate_string"),
        ("matplotlib.tri", "tricontour"),
        ("pandas.core.nanops", "nanmin"),
        ("pandas.plotting", "register_matplotlib_converters"),
        ("sklearn.externals.array_api_compat.numpy", "sort"),
        ("os", "fsencode"),
    ],
)
def test_a_function_that_a_module_has_under_another_name_is_that_module_s(module: str, name: str) -> None:
    """A copy would have variables of its own: a class in a cell would have lost the magics that `line_magic` notes."""
    function = getattr(importlib.import_module(module), name)
    store = InlineStore()
    packed = pack({"function": function}, new_namespace(), store)
    assert unpack(packed, new_namespace(), store).values["function"] is function
    assert module.partition(".")[0] in {each.partition(".")[0] for each in packed.modules}


OWN_MODULE = """
calls = 0
hook = None
def counted(function):
    def wrapper(*arguments):
        global calls
        calls += 1
        return function(*arguments)
    return wrapper
@counted
def step(x): return x + 1
negated = counted(lambda x: -x)
unnamed = [counted(abs)]
chosen = counted(abs)
def choose():
    global chosen, hook
    chosen = hook = counted(len)
"""


def test_what_the_user_s_module_makes_of_a_function_counts_in_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call has made since is a copy: the other side's module has another one, or none."""
    (tmp_path / "counting_module.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = importlib.import_module("counting_module")
    module.choose()
    of_text = {"step": module.step, "negated": module.negated}
    of_calls = {"hook": module.hook, "other": module.unnamed[0]}
    store = InlineStore()
    packed = pack({**of_text, **of_calls}, new_namespace(), store)
    assert "counting_module" in packed.modules
    module.hook = module.chosen = None
    values = unpack(packed, new_namespace(), store).values
    assert {name: values[name] for name in of_text} == of_text
    assert (values["hook"]("abc"), values["other"](-1)) == (3, 1)
    assert module.calls == 0


def test_globals_are_the_namespace_on_both_sides() -> None:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        far.send(*reach(["main", "inst"], near))
        assert far.run("main.__globals__ is globals() and Model.run.__globals__ is globals()")
        assert far.run("scale = 10\n(main(2), inst.run(2))") == (20, 20)
        far.run("def made(x):\n    return x + scale\n0")
        far.bring("made", "main")
        assert near["made"].__globals__ is near
        assert near["made"](1) == 4
        assert near["main"].__globals__ is near


def test_a_function_does_not_carry_the_values_it_uses() -> None:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        far.send(*reach(["main"], near))
        far.run("scale = 100\n0")
        far.send("main", "Model")
        assert far.run("main(1)") == 100
        before = fingerprint(near["main"], near)
        near["scale"] = 5
        assert fingerprint(near["main"], near) == before


def test_isinstance_agrees_over_many_hops() -> None:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        near["inst"].hops = 0
        for _ in range(4):
            far.send("inst", "Model", "helper", "scale")
            assert far.run("made = Model()\ninst.hops += 1\nisinstance(inst, Model) and type(made) is type(inst)")
            far.bring("inst", "made")
            assert type(near["inst"]) is near["Model"]
            assert isinstance(near["made"], near["Model"])
        assert near["inst"].hops == 4
        far.run("class There(Model):\n    def run(self, x): return -helper(x)\n0")
        far.bring("There")
        assert near["There"]().run(1) == -3
        near["again"] = near["There"]()
        far.send("again")
        assert far.run("isinstance(again, There) and isinstance(again, Model)")


def test_a_redefined_class_is_another_one_as_natively() -> None:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        far.send("inst", "Model", "helper", "scale")
        near["old"] = near["inst"]
        exec("class Model:\n    def run(self, x): return 'v2'\ninst2 = Model()", near)
        far.send("Model", "inst2")
        assert far.run("(inst.run(1), inst2.run(1), isinstance(inst, Model), isinstance(inst2, Model))") == (
            3,
            "v2",
            False,
            True,
        )


def test_a_class_changed_in_place_is_the_same_class() -> None:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        far.send("inst", "Model", "helper", "scale")
        near["Model"].extra = lambda self: "extra"
        far.send("Model")
        assert far.run("inst.extra()") == "extra"


def test_a_function_defined_again_is_used_by_those_that_were_there() -> None:
    near = new_namespace()
    exec(NOTEBOOK, near)
    with FarSide(near) as far:
        far.send(*reach(["main"], near))
        exec("def helper(x): return -x", near)
        far.send("helper")
        assert far.run("main(2)") == -2


def test_builtins_stay_the_module_they_were() -> None:
    near = new_namespace()
    near["__builtins__"] = builtins  # the module, as in a notebook
    exec(NOTEBOOK, near)
    store = InlineStore()
    unpack(pack({"main": near["main"]}, near, store), near, store)
    assert near["__builtins__"] is builtins


def test_modules_go_by_name() -> None:
    near = new_namespace()
    exec("import math, os.path\nimport concurrent.futures as cf\ndef f(): return cf.ThreadPoolExecutor.__name__", near)
    with FarSide(near) as far:
        assert far.send("math", "os", "cf", "f") == {}
        assert far.run("(math.sqrt(4), os.path.join('a', 'b'), f())") == (2.0, "a/b", "ThreadPoolExecutor")


def test_standard_streams_are_those_of_the_other_side() -> None:
    near = new_namespace()
    exec("import sys\nclass Log:\n    def __init__(self): self.to = sys.stderr\nlog = Log()", near)
    with FarSide(near) as far:
        assert far.send("log") == {}
        assert far.run("import sys\nlog.to is sys.stderr")
