"""Which functions may look up any name of the notebook, and which names texts mention."""

from __future__ import annotations

import types
from typing import Any

import pytest

from modal_gpu_magic.wire.values.lookups import LONGEST_TEXT, code_looks_up_any_name, mentioned, names_in_texts


def code_of(source: str) -> types.CodeType:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    code: types.CodeType = namespace["f"].__code__
    return code


@pytest.mark.parametrize(
    "source",
    [
        "def f(k): return globals()[k]",
        "def f(k): return eval(k)",
        "def f(k): exec(k)",
        "def f(k): return list(map(eval, k))",
        "def f(k):\n    def g(): return globals()[k]\n    return g()",
        "f = lambda k: eval(k)",
        "def f(A): return A.__subclasses__()",
        "def f():\n    import __main__\n    return __main__.v",
        "def f():\n    from __main__ import v\n    return v",
        "def f(): return __main__.v",
        "def f(): return sys.modules['__main__'].v",
        "def f(): return sys.modules[__name__].v",
        "def f(): return sys._getframe(1).f_globals",
        "def f(): return get_ipython().user_ns",
        "def f(g): return g.__globals__['v']",
        "def f(): breakpoint()",
        "def f(): pdb.set_trace()",
        "def f(): unittest.main(exit=False)",
        "def f():\n    import unittest\n    unittest.main(exit=False)",
        "def f():\n    import doctest\n    doctest.testmod()",
        "async def f(k): return globals()[k]",
        "def f(k):\n    yield eval(k)",
        "def f(k): return [eval(e) for e in k]",
    ],
)
def test_any_name(source: str) -> None:
    assert code_looks_up_any_name(code_of(source))


@pytest.mark.parametrize(
    "source",
    [
        "def f(x): return x + y",
        "def f(m): return m.eval()",
        "def f(df): return df.eval('a + b')",
        "def f(): return locals(), vars(), dir()",
        "def f(x): return vars(x)",
        "def f(globals): return globals()",
        "def f(): return sys.modules['numpy']",
        "def f(): return __name__",
        "def f(): main()",
        "def f(s): return s.main()",
        "def f(): import unittest",
        "def f(t): return ast.literal_eval(t)",
        "def f(A): return A.__bases__",
        "def f(): 'globals() and eval(x)'",
    ],
)
def test_no_other_name(source: str) -> None:
    assert not code_looks_up_any_name(code_of(source))


@pytest.mark.parametrize(
    "text, names",
    [
        ("y ~ sq(x)", "sq x y"),
        ("y ~ np.log(x) + C(g, Treatment) + x:z", "C Treatment g np x y z"),
        ("~ bs(x)", "bs x"),
        ("x > @limit", "limit"),
        ("x > @cfg.limit and y in @names", "cfg names"),
        ("a@b.c", ""),
        ("@decorator", "decorator"),
        ("select a from df inner join other", "df other"),
        ("~/data/x.csv", ""),
        ("a ~ b ~ c(x)", ""),
        ("~", ""),
        ("5(x) ~ 3", "x"),
        ("x" * LONGEST_TEXT + " ~ f(x)", ""),
    ],
)
def test_mentioned(text: str, names: str) -> None:
    assert mentioned(text) == set(names.split())


def test_names_in_the_texts_of_a_function() -> None:
    code = code_of("def f(df):\n    def g(): return df.query('x > @limit')\n    return ols('y ~ sq(x)', df), g()")
    assert names_in_texts(code) == {"sq", "limit", "x", "y"}
