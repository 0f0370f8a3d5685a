"""Attributes that a program adds to objects whose classes leave them out of their pickles, on either side."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SETUP: Final = """
import datetime, decimal, fractions, ipaddress, pathlib, random, threading
import numpy as np
import pandas as pd
import scipy.spatial
from PIL import Image
from torch import nn, optim

class Money(decimal.Decimal): pass
class Share(fractions.Fraction): pass
class Folder(type(pathlib.Path())): pass
class Day(datetime.date): pass
class Moment(datetime.datetime): pass
class Dice(random.Random): pass
class Bytes(bytes): pass
class Buffer(bytearray): pass
class Number(np.float64): pass
class Count(np.int64):
    def __new__(cls, first, second): return super().__new__(cls, first + second)
class Frame(pd.DataFrame):
    @property
    def _constructor(self): return Frame
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
class Guarded:
    def __init__(self): self.kept, self.lock = 1, threading.Lock()
    def __getstate__(self): return {name: value for name, value in vars(self).items() if name != "lock"}
    def __setstate__(self, state): vars(self).update(state); vars(self).setdefault("lock", threading.Lock())
"""

MADE: Final = {
    "frame": "pd.DataFrame({'a': [1]})",
    "frame of the notebook": "Frame({'a': [1]})",
    "series": "pd.Series([1])",
    "index": "pd.Index([1])",
    "time stamp": "pd.Timestamp('2020')",
    "picture": "Image.new('L', (1, 1))",
    "tree of points": "scipy.spatial.KDTree([[1, 2]])",
    "network": "ipaddress.ip_network('10.0.0.0/24')",
    "decimal": "Money('1.5')",
    "fraction": "Share(1, 2)",
    "path": "Folder('a')",
    "date": "Day(2020, 1, 2)",
    "date and time": "Moment(2020, 1, 2)",
    "random generator": "Dice(3)",
    "bytes": "Bytes(b'x')",
    "bytearray": "Buffer(b'x')",
    "number of numpy": "Number(1.5)",
    "number of numpy with a __new__": "Count(1, 2)",
    "module": "Net()",
    "optimizer": "optim.Adam(Net().parameters())",
    "object with a lock": "Guarded()",
}

REPLACED: Final = ("bytes", "date", "date and time", "decimal", "index", "network", "number of numpy", "time stamp")
"""Immutable objects. Another one replaces them when an attribute has changed, as when they are bound anew."""


def _check(memories: TwoMemories, expression: str) -> None:
    """The expression has the value on both sides that it has natively."""
    for act, seen in ((memories.remote, memories.there), (memories.native, memories.here)):
        act(f"seen = {expression}")
        assert seen["seen"] == memories.model["seen"]


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_it_is_set_changed_and_deleted_on_either_side(made: str) -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nitem = {made}\nvars(item).update(tag='here', tags=['here'])")
    kept = "(type(item).__name__, getattr(item, 'tag', None), getattr(item, 'tags', None))"
    _check(memories, kept)
    memories.remote("item.tag = 'there'; item.tags.append('there')")
    _check(memories, kept)
    memories.native("item.tag = 'again'; item.tags.append('again'); item.more = 1")
    _check(memories, f"({kept}, item.more)")
    memories.remote("del item.tag")
    _check(memories, kept)
    memories.native("del item.tags")
    _check(memories, kept)


@pytest.mark.parametrize("made", [made for name, made in MADE.items() if not name.startswith(REPLACED)])
def test_the_object_stays_the_same(made: str) -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nitem = {made}\nother = [item]\nitem.tag = 'here'")
    memories.remote("item.tag = 'there'")
    _check(memories, "(other[0] is item, other[0].tag)")


def test_it_may_refer_to_its_object() -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nimage = Image.new('L', (1, 1)); image.itself = image; image.all = [image, (image,)]")
    _check(memories, "(image.itself is image, image.all[0] is image, image.all[1][0] is image)")


def test_one_that_cannot_be_sent_stays() -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nframe = pd.DataFrame({{'a': [1]}}); object.__setattr__(frame, 'lock', threading.Lock())")
    memories.remote("frame['b'] = 2")
    _check(memories, "list(frame)")
    assert hasattr(memories.here["frame"], "lock")


def test_what_a_class_keeps_to_itself_is_each_side_s_own() -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nitem = Guarded()")
    lock = memories.here["item"].lock
    memories.remote("item.kept += 1; del item.kept; item.more = 1")
    memories.native("seen = sorted(vars(item))")
    assert memories.here["seen"] == ["lock", "more"]
    assert memories.here["item"].lock is lock


@pytest.mark.parametrize(
    "act", ["del net.layer", "del net.buffer", "net.layer = None", "net.own = net.layer; del net.layer"]
)
def test_parts_of_a_module_are_deleted(act: str) -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nimport torch\nnet = Net(); net.register_buffer('buffer', torch.ones(1)); net.own = 1")
    _check(memories, "repr(net)")
    memories.remote(act)
    _check(memories, "(repr(net), sorted(vars(net)), sorted(net.state_dict()))")
