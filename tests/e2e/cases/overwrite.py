"""A newer value is never replaced by an older one from the other side."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "a binding that does not run": """
R> x = 1
N> x = 2
R> if False: x = 3
N> x
R> x
""",
    "a binding after an error": """
R> x = 1
N> x = 2
R!>
1 / 0
x = 3
N> x
R> print(x)
""",
    "a binding before an error": """
R> x = 1
N> x = 2
R!>
x = 3
1 / 0
N> x
R> print(x)
""",
    "an empty loop": """
R> best = "old"
N> best = "new"; rows = []
R> for best in rows: pass
N> best
R> best
""",
    "a failed try": """
R> v = 1
N> v = 2
R>
try: v = int("no")
except ValueError: print("kept", v)
N> v
""",
    "an assertion in mid-cell": """
R> state = {"step": 1}
N> state = {"step": 2}
R!>
assert state["step"] == 1
state = {"step": 3}
N> state
""",
    "a function that is not called binds a global": """
R> n = 1
N> n = 2
R>
def later():
    global n
    n = 3
N> print(n); later(); print(n)
R> print(n)
""",
    "a walrus not reached": """
R> m = "old"
N> m = "new"
R> print(False and (m := "never"))
N> m
""",
    "an import not reached": """
N> import json
N> json = "mine"
R> if False: import json
N> print(json)
R> print(json)
""",
    "an object replaced here while an alias lives there": """
R> data = [1]; box = {"d": data}
N> data = [2]
R> print(data, box); data.append(3)
N> print(data, box)
""",
    "with and except targets not reached": """
R> f = 1; e = 1
N> f = 2; e = 2
R>
if False:
    with open("none") as f: pass
try: pass
except Exception as e: pass
N> print(f, e)
""",
    "a match that does not match": """
R> a = 1
N> a = 2; point = (0, 1, 2)
R>
match point:
    case (a, 0): print("no")
    case _: print("any")
N> a
""",
    "a comprehension's own name": """
R> i = "a"
N> i = "b"
R> print([i for i in range(2)])
N> i
R> i
""",
    "augmented in a branch not taken": """
R> total = 1
N> total = 100
R>
for k in range(3):
    if k > 5: total += k
N> total
R> total += 1; print(total)
N> total
""",
    "a dict from there, its name taken here for another type": """
R> cfg = {"a": 1}
N> cfg = "text"
R> print(cfg.upper())
N> cfg
R> cfg = len(cfg)
N> cfg
""",
    "deleted here, not bound there": """
R> y = 1
N> del y
R> if False: y = 2
N!> y
R!> y
""",
    "a conditional unpacking": """
R> a, b = 1, 2
N> a, b = 10, 20
R> a, b = (b, a) if a < 5 else (a, b)
N> print(a, b)
R> print(a, b)
""",
    "only one of two is bound": """
R> p = 1; q = 1
N> p = 2; q = 2
R>
p = 3
if p > 5: q = 3
N> print(p, q)
R> print(p, q)
""",
    "a class body that raises": """
R>
class A: v = 1
N>
class A: v = 2
R!>
class A:
    v = 3
    1 / 0
N> A.v
R> print(A.v)
""",
    "an older list is not put over the newer content": """
R> log = ["r1"]
N> log.append("n1")
R> if False: log = []
N> log.append("n2"); print(log)
R> print(log)
""",
    "read here, changed here, read there, changed here": """
N> d = {"v": 0}
R> print(d)
N> d["v"] = 1
R> print(d)
N> d["v"] = 2; d["w"] = d
R> print(d["w"]["v"])
N> print(d["v"], d["w"] is d)
""",
    "native and remote take turns": """
N> s = []
R> s.append("r"); t = len(s)
N> s.append("n"); t = len(s)
R> s.append("r"); t += len(s)
N> s.append("n"); t += len(s)
R> print(s, t)
N> print(s, t)
""",
}
