"""Cells that ask whether a name exists find the notebook's names."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "not in globals": """
N> rounds = 7
R> if "rounds" not in globals(): rounds = 0
N> rounds
R> rounds
""",
    "not in dir": """
N> rounds = 7
R> if "rounds" not in dir(): rounds = 0
N> rounds
""",
    "not in vars": """
N> rounds = 7
R> if "rounds" not in vars(): rounds = 0
N> rounds
""",
    "not in locals": """
N> rounds = 7
R> if "rounds" not in locals(): rounds = 0
N> rounds
""",
    "get from globals": """
N> step = 41
R> step = globals().get("step", 0) + 1
N> step
R> step = globals().get("step", 0) + 1; print(step)
""",
    "setdefault of globals": """
N> seen = [1]
R> globals().setdefault("seen", []).append(2)
N> seen
R> globals().setdefault("other", []).append(3)
N> other
""",
    "a NameError as a guard, bound": """
N> model = "trained"
R>
try: model
except NameError: model = "new"
N> model
""",
    "a NameError as a guard, not bound": """
R>
try: model
except NameError: model = "new"
N> model
R> print(model)
""",
    "the guard in a function": """
N> cache = {"a": 1}
R>
def get():
    if "cache" not in globals(): return "none"
    return cache
print(get())
N> cache["b"] = 2
R> print(get())
""",
    "a guard that is true runs once": """
R>
if "init" not in globals():
    init = 1; print("made")
N> init
R>
if "init" not in globals():
    init = 2; print("made again")
N> init
N> init = 5
R> if not globals().get("init"): init = 9
N> init
""",
    "a guard after deletion": """
N> v = 1
R> print(v)
N> del v
R> if "v" not in globals(): v = "again"
N> v
""",
    "hasattr on the main module": """
N> resume = 3
R>
import __main__
print(hasattr(__main__, "resume"), getattr(__main__, "resume", None), getattr(__main__, "nothing", 0))
""",
    "any of several names": """
N> alpha = 1; beta = 2
R> print([name for name in ("alpha", "beta", "gamma") if name in globals()])
R> print(all(name in dir() for name in ["alpha", "beta"]))
N> del alpha
R> print([name for name in ("alpha", "beta", "gamma") if name in globals()])
""",
    "a guard on a name bound in the same cell": """
N> a = 1
R>
b = a + 1
print("a" in globals(), "b" in globals(), "c" in globals())
c = 0
N> print("c" in globals(), b)
""",
    "ip's user_ns": """
N> epoch = 4
R> print(get_ipython().user_ns.get("epoch"), "epoch" in get_ipython().user_ns)
R> get_ipython().user_ns["epoch"] = 5
N> epoch
""",
    "push": """
R> get_ipython().push({"pushed": [1]})
N> pushed.append(2); print(pushed)
R> print(pushed)
""",
}
