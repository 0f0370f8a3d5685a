"""Objects of built-in types and of classes derived from them, changed on either side in turn: never an old value.

Which of these types are heap types, and what their pickles look like, differs between versions of Python.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

STORIES: Final = {
    "a class derived from an array": [
        "native: import array\nclass A(array.array): pass\na = A('i', [1, 2]); a.tag = 1; b = [a]",
        "remote: n = len(a)",
        "native: a.append(3); a.tag = 2",
        "remote: n = (list(a), a.tag, b[0] is a)",
        "remote: a.append(4)",
        "native: n = (list(a), b[0] is a)",
    ],
    "a class derived from a text file in memory": [
        "native: import io\nclass S(io.StringIO): pass\na = S(); b = [a]; n = a.write('x')",
        "remote: n = a.getvalue()",
        "native: n = a.write('y')",
        "remote: n = (a.getvalue(), b[0] is a)",
    ],
    "a partial": [
        "native: import functools\np = functools.partial(max, 1, key=None); b = [p]; q = p",
        "remote: n = p(5)",
        "native: p.keywords['key'] = abs; p.tag = [1]",
        "remote: n = (p(-7), b[0] is p, p.tag)",
        "native: p.__setstate__((min, (2,), {}, {'tag': 3}))",
        "remote: n = (p(5), b[0] is p is q, p.tag)",
    ],
    "a function with a cache": [
        "native: import functools\n@functools.lru_cache\ndef f(x): return x + 1\nb = [f]",
        "remote: n = f(1); b.append(1)",
        "native: b.append(2)",
        "remote: n = (b[0] is f, len(b))",
    ],
    "an iterator": [
        "native: import itertools\nit = itertools.count(); a = next(it); c = itertools.cycle([1, 2, 3]); b = next(c)",
        "remote: n = (next(it), next(c))",
        "native: n = (next(it), next(c))",
        "remote: n = (next(it), next(c))",
    ],
    "a class derived from a deque": [
        "native: import collections\nclass D(collections.deque):\n    def __init__(self, n): super().__init__(maxlen=n)\n"
        "d = D(3); d.append(1); b = [d]",
        "remote: d.append(2); n = list(d)",
        "native: d.append(3)",
        "remote: n = (list(d), b[0] is d, d.maxlen)",
    ],
    "a class derived from a dict with a factory": [
        "native: import collections\nclass D(collections.defaultdict):\n    def __init__(self): super().__init__(list)\n"
        "d = D(); d['a'].append(1); b = [d]",
        "remote: d['b'].append(2)",
        "native: d['c'].append(3)",
        "remote: n = (dict(d), b[0] is d)",
    ],
    "an XML element": [
        "native: import xml.etree.ElementTree as E\ne = E.Element('a'); b = [e]",
        "remote: n = e.tag",
        "native: e.text = 'x'; e.append(E.Element('c'))",
        "remote: n = (e.text, len(e), b[0].text)",
    ],
    "a structure of C": [
        "native: import ctypes\nclass P(ctypes.Structure):\n    _fields_ = [('x', ctypes.c_int), ('y', ctypes.c_double)]\n"
        "p = P(3, 0.5); p.tag = 'a'; b = [p]",
        "remote: n = p.x",
        "native: p.x = 5; p.tag = 'b'",
        "remote: n = (p.x, p.tag, b[0] is p, P(1).x)",
        "remote: p.y = 7.5",
        "native: n = (p.x, p.y, b[0] is p)",
    ],
    "an array of C": [
        "native: import ctypes\na = (ctypes.c_int * 3)(1, 2, 3); b = [a]",
        "remote: n = list(a)",
        "native: a[1] = 7",
        "remote: a[2] += a[1]; n = (list(a), b[0] is a)",
        "native: n = (list(a), b[0] is a)",
    ],
    "a state in the arguments, and a __setstate__": [
        "native: class A:\n    def __init__(self, x): self.x = x\n    def __reduce__(self): return A, (self.x,)\n"
        "    def __setstate__(self, state): raise ValueError('not for this class')\na = A([1]); b = [a]",
        "remote: n = a.x",
        "native: a.x = 2",
        "remote: n = (a.x, b[0].x, b[0] is a)",
    ],
    "a class with a __setstate__ that loses its attributes": [
        "native: class A:\n    def __setstate__(self, state): vars(self).update(state)\na = A(); a.x = 1; b = [a]",
        "remote: n = a.x",
        "native: del a.x",
        "remote: n = (dict(vars(a)), b[0] is a)",
        "native: a.y = 2",
        "remote: n = dict(vars(a)); del a.y",
        "native: n = (dict(vars(a)), b[0] is a)",
    ],
    "a structure of C that loses an attribute": [
        "native: import ctypes\nclass P(ctypes.Structure): _fields_ = [('x', ctypes.c_int)]\np = P(3); p.tag = 'a'",
        "remote: n = p.tag",
        "native: del p.tag; p.x = 4",
        "remote: n = (dict(vars(p)), p.x)",
    ],
    "a generic method": [
        "native: import functools\nclass A:\n    @functools.singledispatchmethod\n    def f(self, x): return 'any'\n"
        "    @f.register\n    def _(self, x: int): return 'int'\na = A(); n = a.f(1)",
        "remote: n = (a.f(1), a.f('s'))",
        "native: n = a.f('x')",
        "remote: n = A().f(2)",
    ],
    "decimals": [
        "native: import decimal\nd = decimal.Decimal('1.5'); b = [d]; c = decimal.Context(prec=5)",
        "remote: n = (d + 1, c.prec)",
        "native: c.prec = 7; d = d + 1",
        "remote: n = (d, b[0], c.prec)",
    ],
    "a getter": [
        "native: import operator\ng = operator.itemgetter(1); b = [g]",
        "remote: n = (g([1, 2]), b[0] is g)",
        "native: b.append(1)",
        "remote: n = (b[0] is g, len(b))",
    ],
    "a dialect of csv": [
        "native: import csv\nclass X(csv.excel): delimiter = ';'\nx = X()",
        "remote: n = x.delimiter",
    ],
}


@pytest.mark.filterwarnings("ignore:Pickle, copy, and deepcopy support will be removed from itertools")
@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES)
def test_the_newest_on_both_sides(steps: list[str]) -> None:
    notebook = TwoMemories()
    for step in steps:
        where, _, source = step.partition(": ")
        getattr(notebook, where)(source)
        if "n" in notebook.model:
            notebook.fetch_all()
            assert notebook.here["n"] == notebook.model["n"], source
