"""Fingerprints: the same while a value is the same, another when it was changed, on each side of a transfer."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.transfer import pack, unpack
from tests.wire.far_side import new_namespace

NOTEBOOK = """
import collections, functools
import numpy as np, pandas as pd, torch
class K:
    def __init__(self): self.a, self.b = 1, "x"
    def method(self): return self.a
class Slots:
    __slots__ = ("a",)
slots = Slots(); slots.a = 1
def fn(x, y=[1]): return x + fn.__defaults__[0][0]
@functools.lru_cache
def cached(x): return x
inst = K()
lst = [1, [2, "a"], (3,)]
dct = {"a": 1, "b": {"c": [1]}}
st = {"a", "b", "c", "d", "e"}
dd = collections.defaultdict(list, {1: [2]})
dq = collections.deque([1, 2])
ba = bytearray(b"abc")
arr = np.arange(100_000)
small = np.arange(3)
obj_arr = np.array([[1], "a"], dtype=object)
df = pd.DataFrame({"a": range(5), "b": list("abcde")})
ser = pd.Series([1.0, 2.0])
t = torch.arange(100_000.0)
model = torch.nn.Sequential(torch.nn.Linear(200, 200), torch.nn.ReLU())
opt = torch.optim.AdamW(model.parameters())
rng = np.random.default_rng(0)
"""

CHANGES = {
    "inst": ["inst.a = 2", "inst.c = 1", "del inst.b"],
    "slots": ["slots.a = 2"],
    "K": ["K.extra = 1", "K.method = lambda self: 2"],
    "fn": ["fn.__defaults__[0].append(1)", "fn.tag = 1", "def fn(x): return x"],
    "lst": ["lst.append(1)", "lst[1].append(1)", "lst[0] = 1.0", "lst[0] = True"],
    "dct": ["dct['a'] = 2", "dct['b']['c'].clear()", "dct['z'] = None"],
    "st": ["st.add('z')", "st.discard('a')"],
    "dd": ["dd[1].append(1)", "dd[5]", "dd.default_factory = set"],
    "dq": ["dq.append(1)", "dq.rotate(1)"],
    "ba": ["ba[0] = 0", "ba.append(1)"],
    "arr": ["arr[50_000] += 1", "arr.resize((10, 10_000), refcheck=False)"],
    "small": ["small[0] = 5"],
    "obj_arr": ["obj_arr[0].append(1)"],
    "df": ["df.loc[0, 'a'] = 9", "df['new'] = 1", "df.columns = ['x', 'y']", "df.index = list('vwxyz')"],
    "ser": ["ser.iloc[0] = 5", "ser.name = 'n'"],
    "t": ["t[5] = -1", "t.requires_grad_()"],
    "model": ["torch.nn.init.zeros_(model[0].bias)", "model.eval()", "model[0].weight.data[3, 3] += 1"],
    "opt": ["opt.param_groups[0]['lr'] = 1", "model[0].weight.data[3, 3] += 1"],
    "rng": ["rng.random()"],
}

USES = {
    "inst": "inst.method(), repr(inst), hash(inst)",
    "slots": "slots.a",
    "K": "K(), issubclass(K, object), K.__doc__",
    "fn": "fn(1), __import__('inspect').signature(fn)",
    "cached": "cached(1), cached(1)",
    "lst": "sorted(map(str, lst)), lst == lst.copy()",
    "dct": "list(dct), dct.get('q'), str(dct)",
    "st": "'a' in st, st | {'q'}",
    "dd": "dd.get(9), len(dd)",
    "dq": "list(dq), dq[0]",
    "ba": "bytes(ba)",
    "arr": "arr.sum(), arr[3:], arr.T, repr(arr)",
    "small": "small + 1",
    "obj_arr": "str(obj_arr)",
    "df": "df.describe(), df['a'].sum(), df.index.is_unique, repr(df), df.groupby('b').size(), df._repr_html_()",
    "ser": "ser.sum(), ser.values, ser.index[0]",
    "t": "t.sum(), t[3:], t.numpy(), repr(t)",
    "model": "model(torch.zeros(1, 200)), model.state_dict(), repr(model)",
    "opt": "opt.state_dict(), repr(opt)",
    "rng": "repr(rng)",
}


def across(value: Any, near: dict[str, Any], far: dict[str, Any]) -> Any:
    """The value as it is after a transfer."""
    store = InlineStore()
    arrived = unpack(pack({"v": value}, near, store), far, store)
    return arrived.values["v"]  # noqa: PD011 - not pandas'


@pytest.fixture
def near() -> dict[str, Any]:
    namespace = new_namespace()
    exec(NOTEBOOK, namespace)
    return namespace


@pytest.mark.parametrize("name", USES)
def test_it_holds_while_a_value_is_only_looked_at(near: dict[str, Any], name: str) -> None:
    before = fingerprint(near[name], near)
    exec(USES[name], near)
    assert fingerprint(near[name], near) == before is not None


@pytest.mark.parametrize("name", USES)
def test_it_holds_on_the_other_side(near: dict[str, Any], name: str) -> None:
    far = new_namespace()
    exec("import numpy as np, pandas as pd, torch", far)
    far[name] = across(near[name], near, far)
    before = fingerprint(far[name], far)
    exec(USES[name], far)
    assert fingerprint(far[name], far) == before is not None


@pytest.mark.parametrize(
    ("name", "change"), [(name, change) for name, changes in CHANGES.items() for change in changes]
)
def test_it_differs_when_a_value_was_changed(near: dict[str, Any], name: str, change: str) -> None:
    before = fingerprint(near[name], near)
    exec(change, near)
    assert fingerprint(near[name], near) not in (None, before)


def test_it_does_not_depend_on_what_is_loaded(near: dict[str, Any]) -> None:
    import sys

    exec("import xml\ndef uses(): return xml.dom.minidom", near)
    before = fingerprint(near["uses"], near)
    import xml.dom.minidom  # noqa: F401 - a submodule that the function could use

    assert "xml.dom.minidom" in sys.modules
    assert fingerprint(near["uses"], near) == before


@pytest.mark.parametrize(
    "value",
    [
        1,
        "a",
        [1, [2, "a"]],
        {"a": 1},
        (1, 2),
        np.arange(100_000),
        np.arange(5),
        torch.arange(5),
        torch.nn.Linear(300, 3),
        dt.date(2024, 1, 1),
        random.Random(0),
        collections.Counter("aab"),
        np.random.default_rng(0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_most_values_have_the_same_on_both_sides(value: Any) -> None:
    """No more is needed than that it holds on each; where it is the same in both, nobody wonders."""
    arrived = across(value, {}, {})
    assert fingerprint(arrived, {}) == fingerprint(value, {})


def test_a_class_holds_while_its_instances_are_pickled(near: dict[str, Any]) -> None:
    """Pickling itself leaves an attribute in the class."""
    before = fingerprint(near["K"], near)
    copy.copy(near["inst"])
    assert fingerprint(near["inst"], near) is not None
    assert "__slotnames__" in vars(near["K"])
    assert fingerprint(near["K"], near) == before


def test_a_frame_that_came_and_went_is_not_sent_for_ever() -> None:
    """Its pickle may differ after the first journey, but not again after the next."""
    frame = pd.DataFrame({"a": range(5), "b": list("abcde")})
    marks = []
    for _ in range(3):
        frame = across(frame, {}, {})
        marks.append(fingerprint(frame, {}))
    assert marks[1] == marks[2]


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates()
IMMUTABLE = st.recursive(PLAIN, lambda inner: st.tuples(inner, inner), max_leaves=4)
NESTED = st.recursive(
    IMMUTABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=20,
)


def apart(value: Any) -> Any:
    """The same lists and dicts over immutable values of their own: no two of those are one object."""
    match value:
        case list():
            return [apart(item) for item in value]
        case dict():
            return {apart(key): apart(item) for key, item in value.items()}
        case tuple():
            return tuple([apart(item) for item in value])
        case str():
            return "".join(list(value))
        case bytes():
            return bytes(list(value))
    return copy.copy(value)


@settings(deadline=None)  # the machine may be busy
@given(NESTED)
def test_immutable_values_count_by_content(value: Any) -> None:
    assert fingerprint(apart(value), {}) == fingerprint(apart(apart(value)), {})


@settings(deadline=None)
@given(IMMUTABLE, IMMUTABLE)
def test_of_equal_immutable_values_two_are_as_good_as_one(one: Any, other: Any) -> None:
    assert fingerprint([one, one, other], {}) == fingerprint([one, apart(one), other], {})


@settings(deadline=None)
@given(IMMUTABLE)
def test_of_equal_mutable_values_two_are_not_one(item: Any) -> None:
    shared = [item]
    assert fingerprint([shared, shared], {}) != fingerprint([shared, [item]], {})
