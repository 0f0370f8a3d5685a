"""Values that cannot be made over there: each name by itself, with a reason, and never garbage."""

from __future__ import annotations

import importlib
import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.pickles.loading import Known, Loader
from modal_gpu_magic.wire.transfer import Unpacked, pack, unpack
from tests.wire.far_side import FarSide, new_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONLY_HERE = """
class Thing:
    def __init__(self, part=None): self.part = part
class Sub(dict): pass
class Fussy:
    def __init__(self, x): self.x = x
    def __reduce__(self): return Fussy, ()
class Late:
    def __setstate__(self, state): raise ValueError("not like this")
    def __getstate__(self): return {"x": 1}
class Picky(dict):
    def __setitem__(self, key, value): raise KeyError(key)
class Full(list):
    def extend(self, items): raise OverflowError("full")
    def append(self, item): raise OverflowError("full")
def function(): return 1
"""


@pytest.fixture
def only_here(tmp_path: Path) -> Iterator[Any]:
    """A module that this process has and the other has not."""
    (tmp_path / "only_here.py").write_text(ONLY_HERE)
    sys.path.insert(0, str(tmp_path))
    yield importlib.import_module("only_here")
    sys.path.remove(str(tmp_path))
    del sys.modules["only_here"]


NEEDS = "needs only_here, which is not installed"


def test_the_names_that_can_be_made_arrive(only_here: Any) -> None:
    near = new_namespace()
    shared = ["shared"]
    near.update(
        thing=only_here.Thing(shared),
        module=only_here,
        function=only_here.function,
        nested={"deep": [(only_here.Thing,)]},
        sub=only_here.Sub(a=1),
        cfg={"part": 1, "lr": 0.1},
        also=shared,
        later=("t", shared),
        array=np.arange(100_000),
        text="text",
    )
    near["base"] = type("Base", (only_here.Thing,), {"__module__": "__main__"})
    near["instance"] = near["base"]()
    names = [name for name in near if not name.startswith("__")]
    with FarSide(near) as far:
        failed = far.send(*names)
        assert failed == dict.fromkeys(["thing", "module", "function", "nested", "sub", "base", "instance"], NEEDS)
        assert far.run("(cfg, also, later[1] is also, text, int(array[-1]), array.flags.writeable)") == (
            {"part": 1, "lr": 0.1},
            ["shared"],
            True,
            "text",
            99_999,
            True,
        )
        assert far.run("'thing' in globals()") is False


def test_what_a_lost_value_only_shares_arrives(only_here: Any) -> None:
    """An object that holds the lost thing, two names that hold another part of it, and one that holds all."""
    near = new_namespace()
    inner = SimpleNamespace(x=1)
    holder = SimpleNamespace(inner=inner, thing=only_here.Thing())
    near.update(holder=holder, inner=inner, pair=(inner, "pair"), word="word", free=SimpleNamespace(word="word"))
    near["around"] = {"holder": holder}
    with FarSide(near) as far:
        failed = far.send("holder", "inner", "pair", "word", "free", "around")
        assert failed == {"holder": NEEDS, "around": f"shares objects with holder, which {NEEDS}"}
        assert far.run("(free.word, pair[0] is inner, vars(inner))") == ("word", True, {"x": 1})


def test_no_function_gets_what_stands_in(only_here: Any) -> None:
    """A class of this process that a transfer names keeps its attributes if their new values are lost."""
    near = new_namespace()
    exec("class Config:\n    part = 1\nconfig = Config()", near)
    with FarSide(near) as far:
        assert far.send("Config", "config") == {}
        near["Config"].part = only_here.Thing()
        near["Config"].other = 2
        assert set(far.send("Config", "config")) == {"Config", "config"}
        assert far.run("(Config.part, hasattr(Config, 'other'), type(config) is Config)") == (1, False, True)


def test_a_lost_container_is_lost_wherever_it_is(only_here: Any) -> None:
    near = new_namespace()
    rows = [only_here.Thing()]
    near.update(rows=["old"], other={"n": 0})
    with FarSide(near) as far:
        far.send("rows", "other")
        far.run("alias = other\n0")
        near["rows"][:] = rows
        near["other"]["n"] = 1
        near["table"] = {"rows": near["rows"]}
        failed = far.send("rows", "table", "other")
        assert set(failed) == {"rows", "table"}
        assert far.run("(rows, alias)") == (["old"], {"n": 1})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda module: module.Fussy(1), "could not be loaded (TypeError: "),
        (lambda module: module.Late(), "could not be loaded (ValueError: not like this)"),
        (lambda module: module.Picky(a=1, b=2), "could not be loaded (KeyError: 'a')"),
        (lambda module: module.Picky(a=1), "could not be loaded (KeyError: 'a')"),
        (lambda module: module.Full([1, 2]), "could not be loaded (OverflowError: full)"),
    ],
)
def test_a_class_that_fails_while_it_is_made(only_here: Any, make: Any, reason: str) -> None:
    store = InlineStore()
    transfer = pack({"bad": [make(only_here)], "good": [1]}, {}, store)
    arrived = unpack(transfer, {}, store)
    assert arrived.values == {"good": [1]}
    assert arrived.failed["bad"].startswith(reason)


def test_a_class_that_another_version_does_not_have(only_here: Any) -> None:
    store = InlineStore()
    transfer = pack({"f": only_here.Thing(), "g": only_here.function}, {}, store)
    thing = only_here.Thing
    del only_here.Thing
    arrived = unpack(transfer, {}, store)
    only_here.Thing = thing
    assert arrived.failed == {"f": "needs only_here.Thing, which the installed version of only_here does not have"}
    assert arrived.values == {"g": only_here.function}


def test_a_submodule_that_another_version_does_not_have() -> None:
    store = InlineStore()
    sys.modules["json.newer"] = module = type(sys)("json.newer")
    transfer = pack({"m": module}, {}, store)
    del sys.modules["json.newer"]
    assert unpack(transfer, {}, store).failed == {
        "m": "needs json.newer, which the installed version of json does not have"
    }


def test_a_kernel_without_torch_and_numpy_gets_the_rest() -> None:
    """The first notebook's cells, in a kernel that has neither."""
    near = new_namespace()
    model = torch.nn.Linear(300, 300)
    near.update(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.1),
        x=np.arange(50_000),
        loss=torch.tensor(1.0),
        cfg={"lr": 0.1, "params": [1, 2], "weight": "w"},
        history=[{"lr": 0.1, "loss": 2.0}],
        name="lr",
    )
    with FarSide(near, without=["torch", "numpy"]) as far:
        failed = far.send("model", "optimizer", "x", "loss", "cfg", "history", "name")
        assert set(failed) == {"model", "optimizer", "x", "loss"}
        assert failed["model"] == failed["loss"] == "needs torch, which is not installed"
        assert failed["x"] == "needs numpy, which is not installed"
        assert far.run("(cfg['params'], history, name)") == ([1, 2], [{"lr": 0.1, "loss": 2.0}], "lr")
        assert far.run("import sys\n[sys.modules['torch'], sys.modules['numpy']]") == [None, None]


def test_functions_arrive_though_others_do_not(only_here: Any) -> None:
    near = new_namespace()
    exec(
        "import only_here\ndef bad(x=only_here.Thing()): return x\ndef good(x): return x + 1\nclass C:\n    def m(self): return good(1)",
        near,
    )
    with FarSide(near) as far:
        assert far.send("bad", "good", "C") == {"bad": NEEDS}
        assert far.run("(good(1), C().m())") == (2, 2)


def test_what_main_means_is_the_namespace() -> None:
    loader = Loader(io.BytesIO(), {"Outer": type("Outer", (), {"inner": 5})}, Known())
    assert loader.find_class("__main__", "Outer.inner") == 5
    with pytest.raises(Exception, match=r"needs Outer\.missing, which is not defined"):
        loader.find_class("__main__", "Outer.missing")


def test_salvage_gives_what_the_fast_loader_gives(only_here: Any) -> None:
    """The same values with and without a lost one beside them."""
    store = InlineStore()
    shared: dict[str, Any] = {"list": [1, 2], "set": {1}, "tuple": (1, (2,)), "bytes": b"x" * 70_000}
    shared["me"] = shared
    values = {
        "a": shared,
        "b": [shared, shared["list"]],
        "c": np.arange(70_000),
        "d": SimpleNamespace(x=shared),
        "e": torch.arange(5),
    }
    whole = unpack(pack(values, {}, store), {}, store)
    transfer = pack({"lost": only_here.Thing(), **values}, {}, store)
    del sys.modules["only_here"].Thing
    salvaged = unpack(transfer, {}, store)
    assert list(salvaged.failed) == ["lost"]
    for arrived in (whole, salvaged):
        check(arrived)


def check(arrived: Unpacked) -> None:
    values = arrived.values
    assert values["b"][0] is values["a"] is values["d"].x is values["a"]["me"]
    assert values["b"][1] is values["a"]["list"]
    assert values["a"]["bytes"] == b"x" * 70_000
    assert values["c"].sum() == sum(range(70_000))
    assert values["e"].tolist() == [0, 1, 2, 3, 4]
