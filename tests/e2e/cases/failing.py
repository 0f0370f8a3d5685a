"""Values that are hard to make, to find by name, or to send."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "__setstate__ uses a global": """
N>
def fix(state): return {**state, "fixed": True}
class A:
    def __init__(self): self.n = 1
    def __getstate__(self): return {"n": self.n}
    def __setstate__(self, state): self.__dict__.update(fix(state))
a = A()
R> print(a.n, isinstance(a, A))
N> print(a.n)
""",
    "__hash__ uses a global": """
N>
SEED = 3
class K:
    def __init__(self, n): self.n = n
    def __hash__(self): return hash((SEED, self.n))
    def __eq__(self, o): return self.n == o.n
keys = {K(1): "a", K(2): "b"}; group = {K(5)}
R> print(keys[K(2)], K(5) in group); keys[K(3)] = "c"
N> print(keys[K(3)], len(keys))
""",
    "__reduce__ with a helper": """
N>
def rebuild(n): return B(n)
class B:
    def __init__(self, n): self.n = n
    def __reduce__(self): return rebuild, (self.n,)
b = B(4)
R> print(b.n); b2 = B(5)
N> print(b2.n, type(b2) is B)
""",
    "__reduce__ with a class that reads a module": """
N>
import math
class C:
    def __init__(self, r): self.r = r; self.area = round(math.pi * r, 2)
    def __reduce__(self): return C, (self.r,)
c = [C(1), C(2)]
R> print([x.area for x in c])
N> print([x.area for x in c])
""",
    "__getattr__ of a proxy": """
N>
class Proxy:
    def __init__(self, target): self.target = target
    def __getattr__(self, name): return getattr(self.target, name)
inner = {"a": 1}; p = Proxy(inner)
R> print(sorted(p.keys())); p.update(b=2)
N> print(inner, p.target is inner)
R> print(p.get("b"))
""",
    "__getattr__ that answers everything": """
N>
class Any:
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return lambda *a: (name, a)
x = Any()
R> print(x.hello(1), x.fetch())
N> print(x.hello(2))
""",
    "an attribute dict": """
N>
class AttrDict(dict):
    def __getattr__(self, k):
        try: return self[k]
        except KeyError: raise AttributeError(k)
    def __setattr__(self, k, v): self[k] = v
cfg = AttrDict(lr=.1, net=AttrDict(depth=2)); net = cfg.net
R> cfg.net.depth = 3; cfg.new = "x"
N> print(cfg, net.depth, cfg.net is net)
R> print(net, type(net).__name__)
""",
    "pickle.dumps of an instance": """
N>
class A:
    def __init__(self): self.v = 1
a = A()
R> import pickle; data = pickle.dumps(a); print(pickle.loads(data).v, type(pickle.loads(data)) is A)
N> import pickle; print(type(pickle.loads(data)) is A)
""",
    "pickle.dumps of a function and a class": """
N>
def f(x): return x + 1
class A: pass
R> import pickle; print(pickle.loads(pickle.dumps(f)) is f, pickle.loads(pickle.dumps(A)) is A, f.__module__, A.__module__)
R>
def g(x): return f(x)
print(pickle.loads(pickle.dumps(g))(1), g.__module__)
N> print(g.__module__, f.__module__)
""",
    "copy.deepcopy": """
N>
import copy
class A:
    def __init__(self): self.kids = []; self.me = self
a = A()
R> b = copy.deepcopy(a); print(b.me is b, b is a, type(b) is A)
N> b.kids.append(1); print(a.kids, b.kids, type(b) is A)
""",
    "joblib.dump": """
N>
class Model:
    def __init__(self, w): self.w = w
m = Model([1, 2])
R>
import joblib, tempfile, os
path = os.path.join(tempfile.mkdtemp(), "m.joblib")
joblib.dump(m, path); back = joblib.load(path); print(back.w, type(back) is Model)
N> print(back.w, type(back) is Model)
""",
    "a process pool maps a function": """
N>
def square(x): return x * x + bias
bias = 1
R>
from multiprocessing import get_context
with get_context("fork").Pool(2) as pool: print(pool.map(square, [1, 2, 3]))
N> bias = 2
R>
with get_context("fork").Pool(2) as pool: print(pool.map(square, [1, 2, 3]))
""",
    "a pool maps a partial and a method": """
N>
from functools import partial
class Scaler:
    def __init__(self, k): self.k = k
    def scale(self, x): return self.k * x
def add(a, b): return a + b
s = Scaler(3)
R>
from multiprocessing import get_context
with get_context("fork").Pool(2) as pool: print(pool.map(partial(add, 10), [1, 2]), pool.map(s.scale, [1, 2]))
""",
    "a pool returns instances": """
N>
class P:
    def __init__(self, n): self.n = n
def make(n): return P(n)
R>
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool: ps = list(pool.map(make, [1, 2]))
print([p.n for p in ps], type(ps[0]) is P)
N> print([p.n for p in ps], type(ps[0]) is P)
""",
    "threads": """
N>
from concurrent.futures import ThreadPoolExecutor
out = []
def work(n): out.append(n); return n * 2
R>
with ThreadPoolExecutor(2) as pool: print(sorted(pool.map(work, range(3))))
N> print(sorted(out))
""",
    "the name open": """
N>
def open(name): return "mine " + name
R> print(open("x"))
N> print(open("y"))
R>
def open(name): return "theirs " + name
N> print(open("z"))
""",
    "the names exit and quit": """
N>
exit = 0.5
quit = [1]
R> print(exit, quit); quit.append(2); exit = 0.75
N> print(exit, quit)
""",
    "the name _": """
N> _ = 5
R> print(_)
R>
for _ in range(3): pass
N> print(_)
N> first, _ = (1, "rest")
R> print(first, _)
END> del _
""",
    "gettext's underscore": """
N>
def _(text): return text.upper()
R> print(_("hello"))
R> print(_("again"))
END> del _
""",
    "names of builtins": """
N> list = [1, 2]; id = "x"; input = {"k": 1}; type = "t"
R> print(list, id, input, type); list.append(3); max = 4
N> print(list, max); del max, list, type
R> print(max(1, 2), id)
""",
    "a singledispatch instance method": """
N>
from functools import singledispatchmethod
class F:
    @singledispatchmethod
    def f(self, x): return "any"
    @f.register
    def _(self, x: int): return "int"
x = F()
R> print(x.f(1), x.f("s"))
N> print(x.f(1))
""",
    "a cached property": """
N>
from functools import cached_property
log = []
class C:
    @cached_property
    def v(self): log.append("computed"); return [1]
c = C()
R> print(c.v); c.v.append(2)
N> print(c.v, log)
R> print(c.v, log)
""",
    "a compiled pattern, a path and a decimal": """
N>
import re, decimal, pathlib, datetime, fractions, uuid
rx = re.compile(r"(\\d+)"); d = decimal.Decimal("1.10"); p = pathlib.PurePosixPath("a/b"); t = datetime.timedelta(1); fr = fractions.Fraction(1, 3)
R> print(rx.findall("a1b22"), d + 1, p / "c", t * 2, fr * 3); tz = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
N> print(tz.isoformat(), rx.pattern)
""",
    "an iterator in the middle": """
N> it = iter([1, 2, 3, 4]); next(it)
R> print(next(it))
N> print(next(it))
R> print(list(it))
N> print(list(it))
""",
    "enumerate, zip and count": """
N>
import itertools
n = itertools.count(10); z = zip("abc", itertools.count(10)); cyc = itertools.cycle([1, 2])
R> print(next(z), next(cyc))
N> print(next(z), next(n), next(cyc), next(cyc))
R> print(next(n))
""",
    "a lock names itself": """
REFUSED: the_lock
N> import threading; the_lock = threading.Lock(); n = 0
R>
with the_lock: n += 1
print(n)
""",
    "a lock in an object": """
REFUSED: store
N>
import threading
class Store:
    def __init__(self): self.lock = threading.Lock(); self.items = []
    def add(self, x):
        with self.lock: self.items.append(x)
store = Store()
R> store.add(1); print(store.items)
N> print(store.items)
""",
    "a generator names itself": """
REFUSED: the_gen
N> the_gen = (x * x for x in range(4)); print(next(the_gen))
R> print(next(the_gen))
N> print(next(the_gen))
""",
    "an open file names itself": """
REFUSED: the_file
N> import tempfile; the_file = tempfile.TemporaryFile("w+"); print(the_file.write("abc"))
R> print(the_file.seek(0), the_file.read())
""",
    "a value that cannot be made stops the cell": """
REFUSED: broken
N>
import os
class Broken:
    def __init__(self): self.home = os.getpid()
    def __setstate__(self, state): raise RuntimeError("only in its own process")
broken = Broken(); v = 1
R> v = 2; print(v, broken.home == os.getpid())
N> print(v)
""",
    "an array broadcast to ten gigabytes": """
N> import numpy as np; one = np.array([3]); wide = np.broadcast_to(one, (1250000000,))
R> print(wide.shape, wide[5], wide.strides, wide.nbytes)
N> print(wide.shape, wide.strides)
R> wide2 = np.broadcast_to(np.float32(1), (10**9,)); print(wide2[7])
N> print(wide2.shape, wide2.strides, wide2[9])
""",
    "a memory map stays one": """
N>
import numpy as np, tempfile, os
path = os.path.join(tempfile.mkdtemp(), "m.dat"); mm = np.memmap(path, dtype="i4", mode="w+", shape=(4,)); mm[:] = 1
R> print(mm.sum())
N> print(type(mm).__name__, mm.filename is not None); mm[0] = 5; mm.flush(); print(np.fromfile(path, "i4"))
R> print(mm.sum())
""",
    "record arrays, object arrays, masked arrays": """
N>
import numpy as np
rec = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]); inner = [1]; obj = np.array([inner, None], dtype=object)
ma = np.ma.array([1, 2], mask=[0, 1])
R> rec["a"][0] = 9; obj[0].append(2); print(ma.sum())
N> print(rec, inner, obj[0] is inner, ma)
""",
    "numpy scalars and dtypes": """
N> import numpy as np; s = np.float32(1.5); dt = np.dtype("f4"); i = np.int64(3)
R> print(type(s).__name__, dt == s.dtype, i / 2); big = np.uint8(250)
N> print(type(big).__name__, int(big) + 10, repr(s))
""",
    "sparse matrices": """
N> import scipy.sparse as sp; m = sp.csr_matrix([[0, 1], [2, 0]])
R> m.data[0] = 5; k = m @ m
N> print(m.toarray(), k.toarray(), type(k).__name__)
""",
}
