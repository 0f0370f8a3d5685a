"""Functions that share variables, defaults and caches share them over all cells."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "two closures of one variable": """
N>
def account():
    total = 0
    def put(n):
        nonlocal total
        total += n
    def get(): return total
    return put, get
put, get = account()
R> put(5); print(get())
N> print(get()); put(1)
R> put(10); print(get())
N> print(get())
""",
    "only the writer is called there": """
N>
def account():
    total = 0
    def put(n):
        nonlocal total
        total += n
    return put, lambda: total
put, get = account()
R> put(5)
N> print(get())
R> put(2)
R> print(get())
""",
    "a counter made there is called here": """
R>
def counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    return up
up = counter(); up()
N> print(up())
R> print(up())
N> print(up())
""",
    "a closure over a list which has a name": """
N>
log = []
def logger():
    into = log
    return lambda text: into.append(text)
say = logger()
R> say("a")
N> say("b"); print(log)
R> say("c"); print(log)
N> print(log)
""",
    "a mutable default argument": """
N>
def collect(x, into=[]):
    into.append(x)
    return into
R> collect(1)
N> print(collect(2))
R> print(collect(3))
N> print(collect.__defaults__)
""",
    "attributes of a function": """
N>
def f():
    f.calls += 1
    return f.calls
f.calls = 0
R> f(); f()
N> print(f.calls, f())
R> print(f())
""",
    "a cached function": """
N>
from functools import lru_cache
@lru_cache(None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
R> print(fib(30))
N> print(fib(20))
""",
    "a partial of a function and a list": """
N>
from functools import partial
out = []
def add(into, x): into.append(x); return len(into)
push = partial(add, out)
R> push(1)
N> push(2); print(out, push.args[0] is out)
R> print(out, push(3))
N> print(out)
""",
    "a function reads a global that changes on either side": """
N>
k = 1
def f(x): return x * k
R> print(f(10))
N> k = 2
R> print(f(10)); k = 3
N> print(f(10))
R> print(f(10))
""",
    "a function sets a global there": """
N>
n = 0
def bump():
    global n
    n += 1
R> bump(); bump()
N> print(n); bump()
R> bump(); print(n)
N> print(n)
""",
    "a function is defined anew here": """
N>
def f(): return "old"
def g(): return f()
R> print(g())
N>
def f(): return "new"
R> print(g())
R>
def f(): return "newest"
N> print(g())
""",
    "recursion over two functions defined on both sides": """
N>
def even(n): return n == 0 or odd(n - 1)
R>
def odd(n): return n != 0 and even(n - 1)
print(even(10))
N> print(even(7), odd(7))
R> print(odd(8))
""",
    "a lambda in a list sees its own cell": """
N> fs = [lambda x, i=i: x + i for i in range(3)]
R> print([f(10) for f in fs]); fs.append(lambda x: -x)
N> print([f(10) for f in fs])
""",
    "a generator's source is a closure": """
N>
def make(items):
    def gen():
        for item in items: yield item
    return gen
items = [1]; gen = make(items)
R> items.append(2); print(list(gen()))
N> items.append(3); print(list(gen()))
R> print(list(gen()))
""",
    "a decorator that counts": """
N>
import functools
counts = {}
def counted(f):
    @functools.wraps(f)
    def inner(*args):
        counts[f.__name__] = counts.get(f.__name__, 0) + 1
        return f(*args)
    return inner
@counted
def sq(x): return x * x
R> print(sq(2), sq.__name__, sq.__wrapped__(3))
N> sq(3); print(counts)
R> sq(4); print(counts)
N> print(counts)
""",
    "a callback list with closures over one state": """
N>
def engine():
    state = {"n": 0}; handlers = []
    def on(f): handlers.append(f); return f
    def fire():
        state["n"] += 1
        for f in handlers: f(state)
    return on, fire, state
on, fire, state = engine()
N>
seen = []
@on
def note(state): seen.append(state["n"])
R> fire(); fire()
N> print(seen, state); fire()
R> print(seen, state)
""",
}
