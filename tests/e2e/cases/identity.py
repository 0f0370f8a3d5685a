"""What is one object in the notebook is one object in the container, and after coming home."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "a list in a dict": """
N> a = [1]; d = {"k": a}
R> d["k"].append(2)
R> print(a, d["k"] is a)
N> print(a, d["k"] is a)
N> a.append(3); print(d)
R> print(d, a is d["k"])
""",
    "a config inside a trainer changes by its own name": """
N>
class Cfg: lr = .1
class Trainer:
    def __init__(self, cfg): self.cfg = cfg
cfg = Cfg(); trainer = Trainer(cfg)
R> cfg.lr = .5
R> print(trainer.cfg.lr, trainer.cfg is cfg)
N> print(trainer.cfg.lr, trainer.cfg is cfg)
""",
    "a config changes through its trainer": """
N>
class Cfg: lr = .1
class Trainer:
    def __init__(self, cfg): self.cfg = cfg
    def halve(self): self.cfg.lr /= 2
cfg = Cfg(); trainer = Trainer(cfg)
R> trainer.halve()
N> print(cfg.lr); trainer.halve()
R> print(cfg.lr)
""",
    "a frame in a dict of frames gets a column": """
N>
import pandas as pd
df = pd.DataFrame({"a": [1, 2]}); frames = {"t": df}
R> df["b"] = 1
N> print(list(frames["t"].columns), frames["t"] is df)
R> print(list(frames["t"].columns), frames["t"] is df)
""",
    "a frame gets a column through its dict": """
N>
import pandas as pd
df = pd.DataFrame({"a": [1, 2]}); frames = {"t": df}
R> frames["t"]["b"] = frames["t"]["a"] * 2
N> print(df); df["c"] = 0
R> print(frames["t"])
""",
    "a bound method keeps its object": """
N>
class Counter:
    def __init__(self): self.n = 0
    def up(self): self.n += 1; return self.n
c = Counter(); up = c.up
R> up(); up()
N> print(c.n, up.__self__ is c, up())
R> print(c.n, up())
N> print(c.n)
""",
    "a bound method made there of an object made here": """
N>
class Counter:
    n = 0
    def up(self): self.n += 1
c = Counter()
R> up = c.up
N> up(); print(c.n)
R> up(); print(c.n)
N> print(c.n, up.__self__ is c)
""",
    "the best of a list is in the list": """
N> items = [{"s": 1}, {"s": 5}, {"s": 3}]
R> best = max(items, key=lambda item: item["s"])
N> best["s"] = 0; print(items, best is items[1])
R> print(items); best["s"] = 9
N> print(items)
""",
    "a default argument is the sentinel": """
N>
MISSING = object()
def f(x=MISSING): return x is MISSING
R> print(f(), f(1), f(MISSING))
N> print(f(), f(MISSING))
R>
def g(x=MISSING): return x is MISSING, f(x)
N> print(g(), g(None))
""",
    "a sentinel in a class attribute": """
N>
MISSING = object()
class Box:
    empty = MISSING
    def get(self, value=MISSING): return "none" if value is MISSING else value
box = Box()
R> print(box.get(), box.empty is MISSING, Box.empty is MISSING)
R> box.empty = MISSING
N> print(box.empty is MISSING, box.get())
""",
    "a registry filled by a decorator": """
N>
REG = {}
def register(f):
    REG[f.__name__] = f
    return f
R>
@register
def one(): return 1
N>
@register
def two(): return 2
print(sorted(REG), REG["one"] is one, REG["two"] is two)
R> print(sorted(REG), REG["one"] is one, REG["two"] is two, REG["two"]())
""",
    "a registry of classes in a metaclass's hook": """
N>
class Plugin:
    known = []
    def __init_subclass__(cls): Plugin.known.append(cls)
R>
class A(Plugin): pass
N>
class B(Plugin): pass
print([cls.__name__ for cls in Plugin.known], Plugin.known[0] is A)
R> print([cls.__name__ for cls in Plugin.known], Plugin.known[1] is B)
""",
    "a history a runner writes to": """
N>
history = []
class Runner:
    def __init__(self, log): self.log = log
    def run(self): self.log.append(len(self.log))
runner = Runner(history)
R> runner.run()
N> print(history, runner.log is history)
R> runner.run(); print(history)
N> history.clear(); runner.run(); print(runner.log)
R> print(history)
""",
    "two names of one list": """
N> a = []; b = a
R> b.append(1)
N> print(a, a is b); a.append(2)
R> print(b, a is b)
""",
    "an alias made there of what was made here": """
N> a = [0]
R> b = a
N> b.append(1); print(a, a is b)
R> a.append(2); print(b, a is b)
N> print(a, b)
""",
    "an alias made here of what was made there": """
R> a = [0]
N> b = a; b.append(1)
R> b.append(2); print(a, a is b)
N> print(a, a is b)
""",
    "rebinding one of two names": """
N> a = [1]; b = a
R> b = [2]
N> print(a, b); c = a
R> c.append(3); print(a, b, c is a)
N> print(a, b, a is c)
""",
    "augmented assignment keeps the list": """
N> a = [1]; b = a
R> a += [2]
N> print(b, a is b)
R> a = a + [3]
N> print(a, b)
""",
    "a cycle": """
N> node = {"name": "x"}; node["self"] = node
R> node["n"] = 1; print(node["self"]["self"]["n"])
N> print(node["self"] is node, node["n"])
R> print(node["self"] is node)
""",
    "parent and child know each other": """
N>
class Node:
    def __init__(self, parent=None):
        self.parent, self.kids = parent, []
        if parent: parent.kids.append(self)
root = Node(); leaf = Node(root)
R> other = Node(leaf); root.mark = 1
N> print(leaf.parent.mark, other.parent is leaf, leaf.kids[0] is other, root.kids[0] is leaf)
R> print(other.parent.parent is root, root.kids[0].kids[0] is other)
""",
    "a shared member is changed on either side in turn": """
N> shared = {"n": 0}; left = [shared]; right = [shared]
R> left[0]["n"] += 1
N> right[0]["n"] += 10; print(shared)
R> shared["n"] += 100; print(left, right)
N> print(left[0] is right[0] is shared, shared)
""",
    "only one of connected names is read there": """
N> common = [1]; one = {"c": common}; two = {"c": common}
R> one["c"].append(2)
N> two["c"].append(3); print(common)
R> print(two["c"], two["c"] is one["c"])
""",
    "an element is taken out there": """
N> rows = [[1], [2], [3]]
R> first = rows.pop(0)
N> print(rows, first); first.append(9); rows.append(first)
R> print(rows, rows[-1] is first)
""",
    "a list is sorted and reversed in place": """
N> a = [3, 1, 2]; view = [a]
R> a.sort()
N> print(view, view[0] is a)
R> a[:] = a[::-1]; del a[0]
N> print(view)
""",
    "a set in an attribute": """
N>
class S: pass
seen = {1}; s = S(); s.seen = seen
R> s.seen |= {2}; s.seen.add(3)
N> print(sorted(seen), s.seen is seen)
R> seen.discard(1)
N> print(sorted(s.seen))
""",
    "a swap there": """
N> a = [1]; b = [2]; pair = (a, b)
R> a, b = b, a
N> print(a, b, pair[0] is b, pair[1] is a)
R> print(pair[0] is b, pair[1] is a)
""",
    "what a tuple holds changes": """
N> inner = [1]; t = (inner, 2)
R> t[0].append(5)
N> print(inner, t[0] is inner)
R> inner.clear(); print(t)
N> print(t)
""",
    "an array in a dataclass": """
N>
import numpy as np
from dataclasses import dataclass
@dataclass
class Batch:
    x: np.ndarray
x = np.zeros(3); batch = Batch(x)
R> batch.x[0] = 7
N> print(x, batch.x is x); x[1] = 8
R> print(batch, batch.x is x)
""",
    "an identical object twice in a list": """
N> a = []; twice = [a, a]
R> twice[0].append(1)
N> print(twice, a, twice[0] is twice[1] is a)
R> twice[1] = [2]; print(a)
N> print(twice, a)
""",
    "equal but not identical stays apart": """
N> a = [1]; b = [1]; box = [a, b]
R> box[0].append(2)
N> print(a, b, box[0] is a, box[1] is b, a is b)
R> print(box[0] is a, box[1] is b)
""",
    "an id kept in a dict of ids": """
N> a = object(); b = [a]
R> print(b[0] is a); b.append(a)
N> print(b[1] is a, b[0] is b[1])
R> print(b[0] is b[1] is a)
""",
    "reading never replaces the object here": """
N>
import pandas as pd
df = pd.DataFrame({"a": [1, 2]}); raw = df; d = {"x": [1]}; e = d["x"]
R> print(df.a.sum(), df.groupby("a").size().tolist(), d)
R> print(len(df), e)
N> print(raw is df, d["x"] is e)
""",
    "equal strings are one or two": """
N> a = "".join(["long text"]); b = "".join(["long text"]); box = {"p": a, "q": b, "l": []}; keep = box
R> print(box["p"] == box["q"])
N> box["q"] = box["p"]
R> print(box)
N> print(keep is box); keep["l"].append(1)
R> print(box)
N> print(box, keep is box)
""",
    "a default dict and its factory's list": """
N>
from collections import defaultdict
groups = defaultdict(list); log = groups["a"]
R> groups["a"].append(1); groups["b"].append(2)
N> log.append(3); print(dict(groups), groups["a"] is log, groups["new"])
R> print(dict(groups), log)
""",
    "a ring of three objects, one read at a time": """
N>
class P: pass
x, y, z = P(), P(), P(); x.n, y.n, z.n = y, z, x
R> x.v = 1
R> y.v = 2
N> z.v = 3; print(x.n.n.n is x, [x.v, x.n.v, x.n.n.v])
R> print(z.n is x, y.n is z, [z.v, z.n.v, z.n.n.v])
""",
    "an object that changes its class": """
N>
class Closed:
    def name(self): return "closed"
class Open(Closed):
    def name(self): return "open"
door = Closed(); house = [door]
R> door.__class__ = Open; print(door.name())
N> print(house[0] is door, house[0].name(), type(door) is Open)
R> house[0].__class__ = type("Broken", (Open,), {}); house[0].way = 1
N> print(type(door).__name__, house[0] is door, door.way); door.__class__ = Closed
R> print(door.name(), house[0].way)
N> print(house[0] is door)
""",
}
