"""Exceptions: their text, attributes, chains; and what a cell that raises leaves behind."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "an exception that formats its argument": """
N>
class E(Exception):
    def __init__(self, code): super().__init__(f"code {code}"); self.code = code
R!> raise E(5)
R>
try: raise E(7)
except E as e: err = e
N> print(str(err), err.code, err.args, type(err) is E)
R> print(str(err), repr(err), err.code)
""",
    "an exception with two arguments": """
N>
class E(ValueError):
    def __init__(self, name, value): self.name = name; super().__init__("%s is %r" % (name, value))
R>
try: raise E("lr", -1)
except ValueError as e: err = e
N> print(err, err.name, err.args)
R!> raise err
""",
    "an exception with __str__": """
R>
class E(Exception):
    def __init__(self, rows): self.rows = rows
    def __str__(self): return f"{len(self.rows)} rows"
R!> raise E([1, 2])
N!> raise E([1])
""",
    "keyword-only arguments": """
N>
class E(Exception):
    def __init__(self, *, field): super().__init__(f"missing {field}"); self.field = field
R!> raise E(field="x")
R>
try: raise E(field="y")
except E as e: kept = e
N> print(kept, kept.field)
""",
    "exceptions in a list": """
R>
errors = []
for text in ("1", "a", "b"):
    try: int(text)
    except ValueError as e: errors.append(e)
N> print([str(e) for e in errors], [type(e).__name__ for e in errors]); errors.append(KeyError("k"))
R> print(len(errors), repr(errors[-1]), errors[0])
""",
    "a chain": """
R>
try:
    try: {}["k"]
    except KeyError as inner: raise RuntimeError("outer") from inner
except RuntimeError as e: err = e
N> print(err, repr(err.__cause__), err.__suppress_context__)
R> print(repr(err.__cause__))
""",
    "a note": """
R>
try: 1 / 0
except ZeroDivisionError as e: e.add_note("while testing"); err = e
N> print(err.__notes__); err.add_note("here")
R> print(err.__notes__)
""",
    "reading an exception does not change it": """
N>
try: [][1]
except IndexError as e: err = e
keep = err
R> print(err)
R> print(repr(err))
N> print(keep is err, err.__traceback__ is not None)
""",
    "exceptions of libraries": """
R!> import json; json.loads("{")
R!> import pandas as pd; pd.DataFrame({"a": [1]})["b"]
R!> import torch; torch.ones(2) @ torch.ones(3)
R!> open("/nowhere/at/all")
R!> "a" + 1
""",
    "a group": """
R>
try: raise ExceptionGroup("many", [ValueError("a"), TypeError("b")])
except* ValueError as group: caught = group
except* TypeError: pass
N> print(caught, [str(e) for e in caught.exceptions])
""",
    "SystemExit and KeyboardInterrupt": """
R!> raise KeyboardInterrupt
N> print("on")
R>
try: raise SystemExit(3)
except SystemExit as e: code = e.code
N> print(code)
""",
    "values bound before the error": """
N> log = []; n = 0
R!>
log.append("a"); n = 1; new = [log]
raise ValueError("stop")
log.append("b")
N> print(log, n, new, new[0] is log)
R> print(log, n, new[0] is log)
""",
    "values changed before the error in a function": """
N>
stats = {"seen": 0}
def work(items):
    for item in items:
        stats["seen"] += 1
        if item is None: raise TypeError("no item")
R!> work([1, 2, None, 3])
N> print(stats)
R!> work([None])
R> print(stats)
""",
    "finally runs": """
N> state = {"open": False}
R!>
state["open"] = True
try: raise OSError("disk")
finally: state["open"] = False; closed = True
N> print(state, closed)
""",
    "an assert message with values": """
N> a = 1; b = 2
R!> assert a == b, f"{a} is not {b}"
N> a = 2
R> assert a == b
""",
    "a NameError of a name that neither side has": """
R!> print(undefined_name)
N!> print(undefined_name)
R!> undefined_name += 1
""",
    "a syntax error": """
R!> x = = 1
N> x = 1
R!> for
R> print(x)
""",
    "an error of a class from there, caught here": """
R>
class Stop(Exception): pass
def check(n):
    if n > 1: raise Stop(f"at {n}")
N>
try: check(5)
except Stop as s: print("caught", s)
R>
try: check(6)
except Stop as s: last = s
N> print(isinstance(last, Stop), last)
""",
}
