"""Names that are looked up at run time are current."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "globals by a variable name": """
N> v = 1; name = "v"
R> print(globals()[name])
N> v = 2
R> print(globals()[name])
R> globals()[name] = 3
N> print(v)
""",
    "format with globals": """
N> v = 1
R> print("{v}".format(**globals()))
N> v = 2
R> print("{v}".format(**globals()), "%(v)s" % globals(), "{v}".format_map(globals()))
""",
    "the main module's attribute": """
N> v = 1
R> import __main__; print(__main__.v)
N> v = 2
R> import __main__; print(__main__.v); __main__.v = 3
N> print(v)
R> print(v)
""",
    "sys.modules main": """
N> flag = "a"
R> import sys; print(sys.modules["__main__"].flag)
N> flag = "b"
R> print(getattr(sys.modules["__main__"], "flag"))
""",
    "vars": """
N> v = [1]
R> print(vars()["v"]); vars()["v"].append(2)
N> v.append(3)
R> print(vars()["v"])
N> print(v)
""",
    "setattr on the main module": """
R> import __main__; setattr(__main__, "made", [1])
N> made.append(2); print(made)
R> print(made)
""",
    "who": """
N> apple = 1; pear = "x"
R> %who_ls
N> fig = 3; del pear
R> %who_ls int
""",
    "exec of variable text": """
N> x = 2; code = "y = x * 10"
R> exec(code); print(y)
N> print(y); x = 3
R> exec(code); print(y)
N> print(y)
""",
    "eval of variable text": """
N> a = 1; b = 2; expr = "a + b"
R> print(eval(expr))
N> b = 20
R> print(eval(expr), eval("a*b"))
N> expr = "[a, b]"
R> print(eval(expr))
""",
    "exec with a namespace of one's own": """
N> x = 5; space = {}
R> exec("z = 1", space); exec(f"w = {x}", space)
N> print(space["z"], space["w"])
""",
    "getattr by text on an object": """
N>
class Steps:
    def one(self): return helper(1)
def helper(x): return x + offset
offset = 10; steps = Steps(); which = "one"
R> print(getattr(steps, which)())
N> offset = 20
R> print(getattr(steps, which)())
""",
    "unittest": """
N>
import unittest
def double(x): return x * 2
class DoubleTest(unittest.TestCase):
    def test_double(self): self.assertEqual(double(2), 4)
    def test_bad(self): self.assertEqual(double(1), 2)
R>
import sys, io
r = unittest.main(argv=[""], exit=False, testRunner=unittest.TextTestRunner(stream=io.StringIO()))
print(r.result.testsRun, len(r.result.failures), len(r.result.errors))
N>
def double(x): return 0
R>
r = unittest.main(argv=[""], exit=False, testRunner=unittest.TextTestRunner(stream=io.StringIO()))
print(r.result.testsRun, len(r.result.failures), len(r.result.errors))
""",
    "doctest": """
N>
def inc(x):
    '''
    >>> inc(1)
    2
    >>> inc(limit)
    11
    '''
    return x + 1
limit = 10
R> import doctest; print(doctest.testmod())
N> limit = 11
R> print(doctest.testmod(verbose=False, report=False).failed)
""",
    "subclasses": """
N>
class Base: pass
class A(Base): pass
R> print([cls.__name__ for cls in Base.__subclasses__()])
N>
class B(Base): pass
R> print([cls.__name__ for cls in Base.__subclasses__()])
R>
class C(Base): pass
N> print([cls.__name__ for cls in Base.__subclasses__()])
""",
    "timeit with a setup": """
N>
calls = []
def f(): calls.append(1)
R> import timeit; t = timeit.timeit("f()", setup="from __main__ import f", number=3); print(len(calls))
N>
def f(): calls.extend([1, 2])
R> t = timeit.timeit("f()", setup="from __main__ import f", number=2); print(len(calls))
N> print(len(calls))
""",
    "timeit with globals": """
N> n = 3; hits = []
R> import timeit; t = timeit.timeit("hits.append(n)", globals=globals(), number=2); print(hits)
N> n = 4
R> t = timeit.timeit("hits.append(n)", globals=globals(), number=1); print(hits)
N> print(hits)
""",
    "pd.eval and query": """
N>
import pandas as pd
df = pd.DataFrame({"a": [1, 2, 3]}); lo = 1
R> print(df.query("a > @lo").a.tolist(), pd.eval("lo + 1"))
N> lo = 2
R> print(df.query("a > @lo").a.tolist(), df.eval("b = a * @lo").b.tolist(), pd.eval("lo * 10"))
""",
    "a function whose name is in a text": """
N>
def relu(x): return max(x, 0)
def tanh(x): return "t"
act = "relu"
R> print(globals()[act](-1), globals()[act](2))
N> act = "tanh"
R> print(globals()[act](-1))
N>
def tanh(x): return "u"
R> print(globals()[act](-1))
""",
    "a loop makes names": """
R>
for i in range(3): globals()[f"made_{i}"] = i * i
N> print(made_0, made_1, made_2); made_1 = "n"
R> print([globals()[f"made_{i}"] for i in range(3)])
""",
    "update of globals": """
N> params = {"depth": 2, "width": 3}
R> globals().update(params); print(depth * width)
N> print(depth, width); depth = 10
R> print(depth * width); globals().update(width=1)
N> print(width)
""",
    "inspect's frame": """
N> hidden = 7
R>
import inspect
def peek(name): return inspect.currentframe().f_back.f_globals[name]
print(peek("hidden"))
N> hidden = 8
R> print(peek("hidden"))
""",
    "f-string with eval": """
N> value = 3; fields = ["value"]
R> print({name: eval(name) for name in fields})
N> value = 4; other = 5; fields.append("other")
R> print({name: eval(name) for name in fields})
""",
    "string templates with vars": """
N> who = "Ann"; n = 2
R> from string import Template; print(Template("$who has $n").substitute(globals()))
N> who = "Bob"
R> print(Template("$who has $n").substitute(vars()))
""",
    "a type is resolved by its annotation's name": """
N>
from __future__ import annotations
import typing
class Inner: pass
class Outer:
    x: Inner
R> import typing; print(typing.get_type_hints(Outer)["x"] is Inner)
N> print(typing.get_type_hints(Outer)["x"] is Inner)
""",
    "a shell variable": """
N> word = "one"
R> !echo {word} $word
N> word = "two"
R> !echo {word}
R> out = !echo {word}
N> print(out)
""",
    "a magic's expansion": """
N> mult = 3
R> %time z = mult * 2
N> print(z); mult = 4
R>
%%capture got
print(mult)
N> print(got.stdout)
""",
}
