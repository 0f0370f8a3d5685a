"""Names and members that are deleted on one side are gone on the other."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "deleted there": """
N> a = 1
R> del a
N!> a
R!> print(a)
""",
    "deleted here": """
R> a = 1
N> del a
R!> print(a)
R> print("a" in globals())
""",
    "deleted there and bound anew here": """
N> a = [1]; b = a
R> del a
N> a = [2]; print(a, b)
R> print(a, b, a is b)
""",
    "deleted here and bound anew there": """
R> a = [1]; b = a
N> del a; b.append(2)
R> a = [3]; print(a, b)
N> print(a, b)
""",
    "deleted before an error": """
N> a = 1; b = 2
R!>
del a
raise ValueError("after")
del b
N!> a
N> print(b)
""",
    "an except clause's name": """
N> e = "kept"
R>
try: 1 / 0
except ZeroDivisionError as e: pass
N!> e
R!> e
""",
    "a key, an item, an attribute": """
N>
class O: pass
d = {"a": 1, "b": 2}; l = [1, 2, 3]; o = O(); o.x = 1; o.y = 2; keep = (d, l, o)
R> del d["a"], l[0], o.x
N> print(d, l, vars(o), keep[0] is d, keep[1] is l, keep[2] is o)
R> d.pop("b"); l.clear(); del o.y; print(d, l, vars(o))
N> print(keep[0], keep[1], vars(keep[2]))
""",
    "globals().pop": """
N> temp = 1; name = "temp"
R> print(globals().pop(name))
N> print("temp" in globals())
R> globals()["again"] = 1; del globals()["again"]
N> print("again" in globals())
""",
    "a loop variable is deleted": """
R>
for i in range(3): x = i
del i
N> print("i" in globals(), x)
R> print("i" in globals())
""",
    "a column": """
N> import pandas as pd; df = pd.DataFrame({"a": [1], "b": [2]}); keep = df
R> del df["a"]
N> print(list(keep), keep is df); df.drop(columns="b", inplace=True)
R> print(list(df), df.shape)
""",
    "an alias survives": """
N> data = {"k": [1]}; inner = data["k"]
R> del data; inner.append(2)
N> print(inner, "data" in globals())
R> print(inner, "data" in globals())
""",
    "a class while its instance lives": """
N>
class C:
    def hi(self): return "hi"
c = C()
R> del C; print(c.hi())
N> print(c.hi(), "C" in globals())
R> print(c.hi(), type(c).__name__)
""",
    "an imported module": """
N> import math
R> del math
N!> math.pi
R!> math.pi
""",
    "reset of one name": """
R> a = 1; ab = 2
N> %reset_selective -f ^a$
R> print("a" in globals(), ab)
""",
    "a function is deleted, its user stays": """
N>
def helper(): return 1
def user(): return helper()
R> print(user())
N> del helper
R!> user()
R>
def helper(): return 2
N> print(user())
""",
    "deleted and set again in one cell": """
N> v = [1]; w = v
R> del v; v = [2]
N> print(v, w)
R> print(v, w)
""",
}
