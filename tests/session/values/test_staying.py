"""Values that stay in the container share objects with the notebook: neither side has an older one without a word."""

from __future__ import annotations

import pytest

from tests.session.same_graph import compare
from tests.session.two_memories import TwoMemories

BIG = "list(range(500))"

STORIES = {
    "a fetch leaves alone what is newer here": [
        "native: a = [1]",
        f"remote: z = [a, {BIG}]",
        "native: a.append(2)",
        "fetch",
    ],
    "a value there takes an object of the notebook in, in a later cell": [
        "native: y = [1]",
        f"remote: z = [{BIG}]",
        "remote: z.append(y)",
        "native: y.append(2)",
        "remote: n = len(z[-1])",
    ],
    "a change that stays outlives the last name there": [
        "native: a = [1]; b = [a]",
        "remote: a.append(2); a.extend(range(500)); z = a; a = None",
        "remote: z = None",
        "fetch",
    ],
    "a change behind a name that the cell gives away": [
        "native: a = [1]; b = a.append",
        "remote: b(2); b = None",
        "fetch",
    ],
    "a variable that two functions share": [
        "native: put, get = account()",
        f"remote: put({BIG})",
        "remote: kept = [get, 1]",
        "fetch",
        "native: n = get()",
    ],
    "a view whose array was changed here, outside the view": [
        "native: import numpy as np; e = np.zeros(4)",
        "remote: c = e[1:]",
        "native: e[0] = 34",
        f"remote: b = (c, {BIG})",
        "fetch",
    ],
    "a view whose array is read there after a change here": [
        "native: import numpy as np; e = np.zeros(4)",
        "remote: c = e[1:]",
        "native: e[0] = 34",
        "remote: n = c.base[0] if c.base is not None else e[0]",
    ],
    "two values there share what a fetch brought": [
        f"remote: x = [1]; z = [x, {BIG}]; q = [x, {BIG}]; del x",
        "fetch",
        "native: z[0].append(2)",
        "remote: n = len(q[0])",
        "fetch",
    ],
    "a function there reads a name that was changed here": [
        "native: a = [1]",
        f"remote: f = lambda pad={BIG}: len(a)",
        "native: a.append(2)",
        "remote: n = f()",
    ],
    "a name that the cell binds holds what another name reaches": [
        "native: a = [1]; b = [a]; c = a",
        "remote: a = 5; n = b[0]; n.append(2)",
        "remote: c = [b, c]",
        "fetch",
    ],
}

SETUP = """
def account():
    total = []
    def put(x):
        nonlocal total
        total = total + [x]
    def get(): return total
    return put, get
"""


@pytest.mark.parametrize("fetch_bytes", [300, 1 << 30])
@pytest.mark.parametrize("name", STORIES)
def test_both_sides_have_the_newest(name: str, fetch_bytes: int) -> None:
    notebook = TwoMemories(fetch_bytes)
    notebook.native(SETUP)
    for step in STORIES[name]:
        where, _, source = step.partition(": ")
        if where == "fetch":
            notebook.fetch_all()
        else:
            getattr(notebook, where)(source)
    notebook.fetch_all()
    compare(notebook.model, notebook.here, notebook.user_names())


def test_a_remote_value_whose_name_is_bound_anew_is_not_the_new_value() -> None:
    notebook = TwoMemories(300)
    notebook.remote(f"z = {BIG}")
    notebook.here["kept"] = notebook.here["z"]
    notebook.here["z"] = notebook.model["z"] = 5
    notebook.remote("n = 1")
    assert not notebook.kernel.is_current("z")
