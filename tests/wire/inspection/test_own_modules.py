"""What has changed in the user's modules since their import, and which object a place has on this side."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from modal_gpu_magic.wire.inspection.own_modules import MISSING, OwnModules
from modal_gpu_magic.wire.messages.place_names import place_in, shown_place
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.process.import_hook import OwnImports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules of the user by name, `mgt_…`; they are forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(**modules: str) -> None:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()

    yield write
    for name in [each for each in sys.modules if each.startswith("mgt_")]:
        del sys.modules[name]


@pytest.fixture
def own() -> Iterator[OwnModules]:
    """Follows the modules that the test imports, and no others: those of the test suite are the user's as well."""
    found = OwnModules()
    imports = OwnImports(lambda: found)
    imports.install()
    yield found
    sys.meta_path.remove(imports)
    found.leave()


def load(name: str) -> Any:
    return importlib.import_module(name)


@pytest.mark.parametrize(
    "source, call, places",
    [
        ("n = 0\ndef go():\n    global n\n    n += 1", "go()", {"n"}),
        ("a = []\nb = []\ndef go(): b.append(1)", "go()", {"b"}),
        ("a = {}\nb = a\ndef go(): b.update(x=1)", "go()", {"a", "b"}),
        ("a = [[]]\ndef go(): a[0].append(1)", "go()", {"a"}),
        ("class C:\n    n, all = 0, []\n    def __init__(s): C.n += 1", "C()", {"C.n"}),
        (
            "class C:\n    kinds = {}\n    def __init_subclass__(k): C.kinds[k.__name__] = k",
            "type('D', (C,), {})",
            {"C.kinds"},
        ),
        ("class C: pass\nc = C()\ndef go(): c.x = 1", "go()", {"c"}),
        ("def f(): f.n += 1\nf.n = 0", "f()", {"f.n"}),
        ("import itertools\nids = itertools.count()", "next(ids)", {"ids"}),
        ("def f(): pass\ndef g(): pass\nh = f\ndef go():\n    global h\n    h = g", "go()", {"h"}),
        ("def go():\n    global new\n    new = 1", "go()", {"new"}),
        ("x = 1000\ndef go():\n    global x\n    x = int('1000')", "go()", set()),
        ("a = [1]\ndef go():\n    global a\n    a = [1]", "go()", {"a"}),
        ("import threading\nlock = threading.Lock()\ndef go(): lock.acquire(); lock.release()", "go()", set()),
        ("import os\nPID = os.getpid()", "PID", set()),
    ],
)
def test_what_a_call_changes_is_found(own: OwnModules, write: Write, source: str, call: str, places: set[str]) -> None:
    write(mgt_a=source)
    module = load("mgt_a")
    assert own.changed() == {}
    eval(call, vars(module))
    assert own.changed().keys() == {f"<mgt_a:{place}>" for place in places}


def test_what_an_import_changes_in_another_module_is_no_change(own: OwnModules, write: Write) -> None:
    write(
        mgt_reg="R, n = [], 0\ndef add(x):\n    global n\n    R.append(x); n += 1",
        mgt_b="import mgt_reg\nmgt_reg.add('b')",
        mgt_c="import mgt_reg\nmgt_reg.add('c')",
    )
    load("mgt_b")
    assert own.changed() == {}
    load("mgt_c")
    assert own.changed() == {}
    sys.modules["mgt_reg"].add("user")
    assert own.changed().keys() == {"<mgt_reg:R>", "<mgt_reg:n>"}


def test_a_change_before_an_import_stays_a_change(own: OwnModules, write: Write) -> None:
    write(mgt_reg="R = []\ndef add(x): R.append(x)", mgt_b="import mgt_reg\nmgt_reg.add('b')")
    load("mgt_reg").add("user")
    load("mgt_b")
    assert own.changed() == {"<mgt_reg:R>": ["user", "b"]}


def test_a_module_that_runs_again_begins_anew(own: OwnModules, write: Write) -> None:
    write(mgt_a="R = []\ndef add(x): R.append(x)")
    module = load("mgt_a")
    module.add(1)
    module.extra = [2]
    importlib.reload(module)
    assert own.changed() == {"<mgt_a:extra>": [2]}


def test_an_import_that_fails_leaves_the_others_followed(own: OwnModules, write: Write) -> None:
    write(mgt_a="R = []", mgt_bad="import mgt_a\nmgt_a.R.append(1)\n1 / 0")
    load("mgt_a")
    with pytest.raises(ZeroDivisionError):
        load("mgt_bad")
    assert own.changed() == {}
    assert own.loaded == {"mgt_a"}


def test_a_value_waits_for_the_import_of_its_module(own: OwnModules, write: Write) -> None:
    write(mgt_a="R = []\nclass C: n = 0", mgt_b="from mgt_a import R\nseen = R is not None and list(R)")
    received = [1]
    values = {"<mgt_a:R>": received, "<mgt_a:C.n>": 7, "x": 2}
    assert own.take(values) == {"<mgt_a:R>": received, "<mgt_a:C.n>": 7}
    assert values == {"x": 2}
    assert own.changed() == {"<mgt_a:R>": received, "<mgt_a:C.n>": 7}
    module = load("mgt_b")
    assert module.R is received
    assert module.seen == [1]
    assert sys.modules["mgt_a"].C.n == 7
    assert own.changed() == {"<mgt_a:R>": received, "<mgt_a:C.n>": 7}


def test_a_large_value_and_one_that_cannot_be_pickled_are_not_sendable(own: OwnModules, write: Write) -> None:
    write(
        mgt_a="import threading, numpy as np\nclass Pool: pass\nbig = pool = None\ndef go():\n    global big, pool\n"
        "    big, pool = np.ones(9_000_000), Pool()\n    pool.lock = threading.Lock()"
    )
    load("mgt_a").go()
    changed = own.changed()
    assert changed.keys() == {"<mgt_a:big>", "<mgt_a:pool>"}
    assert own.sendable(changed) == {}
    assert own.unsent == {
        "<mgt_a:big>": "it has 72 MB, and the limit is 64 MB of arrays, 4.0 MB and 5,000 objects of all else (a name of the notebook that has it sends "
        "it: from mgt_a import big)",
        "<mgt_a:pool>": "it holds a lock (_thread.lock) at `.lock`",
    }
    assert own.sendable(changed, of_any_size={"<mgt_a:big>"}).keys() == {"<mgt_a:big>"}


def test_a_part_of_the_kernel_is_no_variable(own: OwnModules, write: Write) -> None:
    write(mgt_a="shell = None\ndef load_ipython_extension(ip):\n    global shell\n    shell = ip")
    load("mgt_a").load_ipython_extension(InteractiveShell())
    assert own.changed() == {}


def test_a_graph_of_many_objects_is_large(own: OwnModules, write: Write) -> None:
    write(mgt_a="class C: pass\nall = []\ndef go(n): all.extend(C() for _ in range(n))")
    module = load("mgt_a")
    module.go(100)
    assert own.sendable(own.changed()).keys() == {"<mgt_a:all>"}
    module.go(10_000)
    assert own.sendable(own.changed()) == {}
    assert "5,000 objects" in own.unsent["<mgt_a:all>"]


@pytest.mark.parametrize(
    "value, is_sent",
    [
        ("[1] * 100", True),
        ("['x' * 10_000] * 100", True),
        ("['x' * 10_000 + str(i) for i in range(1_000)]", False),
        ("{i: {i} for i in range(300)}", True),
        ("list(range(100_000))", True),
        ("list(range(10_000_000))", False),
        ("'x' * 5_000_000", False),
        ("np.ones(5_000_000)", True),
        ("[np.ones(9_000_000)]", False),
    ],
)
def test_which_variables_are_large(own: OwnModules, write: Write, value: str, is_sent: bool) -> None:
    write(mgt_a=f"import numpy as np\nx = None\ndef go():\n    global x\n    x = {value}")
    load("mgt_a").go()
    assert bool(own.sendable(own.changed())) is is_sent


def test_the_object_of_a_token_is_the_one_at_its_place(own: OwnModules, write: Write) -> None:
    write(mgt_a="R, S, T = [], {}, (1, [])\nclass C: pass\nc = C()")
    module, table = load("mgt_a"), IdentityTable(side=1)
    table.bind(99, module.S)
    find = own.finder({1: "<mgt_a:R>", 2: "<mgt_a:S>", 3: "<mgt_a:T>", 4: "<mgt_a:c>", 5: "<mgt_a:no>"}, table)
    assert find is not None
    assert find(1, list) is module.R
    assert find(4, module.C) is module.c
    assert [find(1, dict), find(2, dict), find(3, tuple), find(5, list), find(6, list)] == [None] * 5
    assert own.finder({}, table) is None


def test_a_variable_that_was_bound_again_claims_no_place(own: OwnModules, write: Write) -> None:
    write(mgt_a="R, S = [], []\nT = S")
    module, table = load("mgt_a"), IdentityTable(side=0)
    old, module.R = module.R, module.S
    assert own.claims([module.S], table) == {table.token(module.S): "<mgt_a:S>"}
    module.R = new = [1]
    assert own.claims([new], table) == own.claims([new], table) == {}
    assert table.token(new)
    assert old is not new
    own.note_shared({"<mgt_a:R>": id(new)})
    assert own.claims([new], table) == {table.token(new): "<mgt_a:R>"}


def test_a_number_claims_no_place(own: OwnModules, write: Write) -> None:
    write(mgt_a="n, m = 1, 'text'\nR = []")
    module, table = load("mgt_a"), IdentityTable(side=0)
    assert own.claims([module.n, module.m, module.R], table) == {table.token(module.R): "<mgt_a:R>"}
    assert table.token(1) == table.token("text") == 0


@pytest.mark.parametrize("name", ["<result>", "<object 12>", "x", "_12", "<a>", "a:b"])
def test_other_names_are_no_places(name: str) -> None:
    assert place_in(name) is None
    assert shown_place(name) == name


def test_a_place_that_does_not_exist_has_no_value(own: OwnModules, write: Write) -> None:
    write(mgt_a="x = 1\nclass C: n = 2")
    load("mgt_a")
    names = ["<mgt_a:x>", "<mgt_a:C.n>", "<mgt_a:y>", "<mgt_a:x.n>", "<mgt_a:D.n>", "<mgt_none:x>"]
    assert own.values_at(names) == {"<mgt_a:x>": 1, "<mgt_a:C.n>": 2}
    assert own.value_at("<mgt_a:y>") is MISSING
    own.assign("<mgt_a:x.n>", 3)  # nothing has the variable
    assert own.values_at(names) == {"<mgt_a:x>": 1, "<mgt_a:C.n>": 2}
