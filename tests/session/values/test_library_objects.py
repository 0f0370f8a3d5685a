"""Objects of libraries that change in place, in containers of every kind, on either side: one memory, as natively."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SETUP: Final = """
import collections, dataclasses, functools, types
import networkx
import numpy as np
import pandas as pd
import scipy.sparse
from PIL import Image
from sklearn.linear_model import LinearRegression

Pair = collections.namedtuple("Pair", "first second")
class Subclass(tuple):
    pass
@dataclasses.dataclass(frozen=True)
class Frozen:
    first: object
    second: object
@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    first: object
    second: object
def closed(value):
    return lambda: value
"""

HOLDERS: Final = {
    "name": ("held = item", "held"),
    "dict": ("held = {'k': item}", "held['k']"),
    "tuple": ("held = (item, [1])", "held[0]"),
    "tuple without others": ("held = (item,)", "held[0]"),
    "nested tuples": ("held = (1, (item, [1]))", "held[1][0]"),
    "tuple in a list": ("held = [(item, [1])]", "held[0][0]"),
    "tuple under a tuple": ("held = {(1, 2): (item, [1])}", "held[1, 2][0]"),
    "named tuple": ("held = Pair(item, [1])", "held.first"),
    "subclass of tuple": ("held = Subclass((item, [1]))", "held[0]"),
    "frozen dataclass": ("held = Frozen(item, [1])", "held.first"),
    "frozen slots": ("held = Slotted(item, [1])", "held.first"),
    "partial": ("held = functools.partial(print, item, [1])", "held.args[0]"),
    "default": ("def held(argument=item): return argument", "held()"),
    "closure": ("held = closed(item)", "held()"),
    "exception": ("held = ValueError(item, [1])", "held.args[0]"),
    "slice": ("held = (slice(item, None), [1])", "held[0].start"),
    "object array": ("held = np.empty(1, object); held[0] = item", "held[0]"),
    "cell of a frame": ("held = pd.DataFrame({'q': [None]}, dtype=object); held.at[0, 'q'] = item", "held.at[0, 'q']"),
    "series of objects": ("held = pd.Series([0, 1], dtype=object); held[0] = item", "held[0]"),
}
"""Statements that put the item into a container, and expressions that get the item out."""

ITEMS: Final = {
    "list": ("item = [1]", "{0}.append(2)", "{0}"),
    "array": ("item = np.arange(3)", "{0}[0] += 5", "{0}.tolist()"),
    "masked array": ("item = np.ma.array([1, 2, 3])", "{0}[0] = np.ma.masked; {0}[1] += 5", "str({0})"),
    "generator": ("item = np.random.default_rng(0)", "{0}.random()", "{0}.bit_generator.state['state']['state']"),
    "polynomial": ("item = np.poly1d([1, 2])", "{0}[0] += 5", "str({0})"),
    "frame of numbers": ("item = pd.DataFrame({'a': range(3)})", "{0}.loc[0, 'a'] += 9", "{0}.to_dict('list')"),
    "frame": (
        "item = pd.DataFrame({'a': range(3), 'b': list('xyz'), 'c': [1., 2., 3.], 'd': pd.date_range('2020', periods=3)"
        ", 'e': pd.Categorical(list('aab'))})",
        "{0}.loc[0, 'c'] += 9.5; {0}.loc[1, 'b'] += 'Q'; {0}.loc[2, 'e'] = 'a'",
        "{0}.to_dict('list')",
    ),
    "frame with a new column": (
        "item = pd.DataFrame({'a': range(3), 'b': list('xyz')})",
        "{0}[f'c{{len({0}.columns)}}'] = {0}['a'] * 2; {0}.loc[0, 'a'] += 1",
        "{0}.to_dict('list')",
    ),
    "frame with levels": (
        "item = pd.DataFrame({'a': [1, 2], 'b': ['u', 'v']}).set_index('b', append=True)",
        "{0}.iloc[0, 0] += 4; {0}.index.names = ['q', {0}.index.names[1] + 'x']",
        "({0}['a'].tolist(), list({0}.index.names))",
    ),
    "attributes of a frame": (
        "item = pd.DataFrame({'a': [1], 'b': ['u']}); item.attrs['k'] = [1]",
        "{0}.attrs['k'].append(2)",
        "{0}.attrs",
    ),
    "attributes of a series": ("item = pd.Series([1]); item.attrs['k'] = [1]", "{0}.attrs['k'].append(2)", "{0}.attrs"),
    "series": ("item = pd.Series(list('xyz'), name='n')", "{0}[0] += 'Q'; {0}.name += 'm'", "({0}.tolist(), {0}.name)"),
    "groups": (
        "frame = pd.DataFrame({'a': [1, 2, 3], 'b': list('uvu')}); item = frame.groupby('b')",
        "{0}.obj.loc[0, 'a'] += 40",
        "({0}['a'].sum().tolist(), {0}.obj['a'].tolist())",
    ),
    "categories": ("item = pd.Categorical(['a', 'b', 'a'])", "{0}[1] = 'a' if {0}[1] == 'b' else 'b'", "list({0})"),
    "nullable integers": ("item = pd.array([1, None, 3])", "{0}[0] += 5; {0}[2] = None", "str({0})"),
    "dates": (
        "item = pd.array(pd.date_range('2020', periods=2))",
        "{0}[0] += pd.Timedelta(days=1)",
        "[str(each) for each in {0}]",
    ),
    "text": ("item = pd.array(['a', None], dtype='string')", "{0}[1] = 'b' + str({0}[1])", "list({0})"),
    "index": ("item = pd.Index([1, 2, 3], name='')", "{0}.name += 'n'", "({0}.name, {0}.tolist())"),
    "index of one": ("item = pd.Index([1], name='')", "{0}.name += 'n'", "({0}.name, {0}.tolist())"),
    "compressed rows": ("item = scipy.sparse.csr_matrix(np.eye(3))", "{0}.data[1] += 7", "{0}.toarray().tolist()"),
    "rows of lists": ("item = scipy.sparse.lil_matrix((2, 2))", "{0}[0, 1] += 3", "{0}.toarray().tolist()"),
    "keys": ("item = scipy.sparse.dok_array((2, 2))", "{0}[0, 1] += 3", "{0}.toarray().tolist()"),
    "model": (
        "item = LinearRegression().fit([[0.], [1.]], [0., 2.])",
        "{0}.coef_[0] += 1; {0}.n_seen = getattr({0}, 'n_seen', 0) + 1",
        "({0}.coef_.tolist(), {0}.n_seen)",
    ),
    "graph": (
        "item = networkx.path_graph(3)",
        "{0}.add_edge(0, len({0})); {0}.nodes[0]['w'] = len({0})",
        "(sorted({0}.edges), {0}.nodes[0])",
    ),
    "picture": ("item = Image.new('L', (2, 2))", "{0}.putpixel((0, 0), {0}.getpixel((0, 0)) + 7)", "{0}.tobytes()"),
}
"""Statements that make the item, and change it in place; the expression that shows its content."""


def check(memories: TwoMemories, expression: str, *, remotely: bool) -> None:
    """The expression has the value that it has natively."""
    if remotely:
        memories.remote(f"seen = repr({expression})")
    else:
        memories.native(f"seen = repr({expression})")
    assert (memories.there if remotely else memories.here)["seen"] == memories.model["seen"], expression


KINDS: Final = ("frame", "masked array", "categories", "index", "compressed rows")
"""Items that are in holders of all kinds: each is written into in another way."""


@pytest.mark.parametrize(
    "item, holder",
    [(item, holder) for item in ITEMS for holder in HOLDERS if item in KINDS or holder in ("name", "dict", "tuple")],
)
def test_a_change_is_seen_on_both_sides(item: str, holder: str) -> None:
    made, change, content = ITEMS[item]
    put, got = HOLDERS[holder]
    memories = TwoMemories()
    memories.native(f"{SETUP}\n{made}")
    memories.native(put)
    memories.remote("other = held")
    for first in (False, True, True, False, False):
        act = memories.remote if first else memories.native
        act(change.format(got))
        check(memories, content.format(got), remotely=not first)
        check(memories, f"({content.format('item')}, item is {got}, other is held)", remotely=not first)
        check(memories, f"({content.format('item')}, item is {got}, other is held)", remotely=first)
