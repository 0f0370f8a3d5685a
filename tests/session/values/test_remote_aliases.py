"""A remote value is one value, whatever its name is bound to later: by each name, in each list, in each cell.

The model is a notebook in which all cells run natively. Nothing returns from a cell, so that all values stay remote.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modal_gpu_magic.wire.values.remote import RemoteValue, is_lost, own_of
from tests.session.replaced_memories import ReplacedMemories
from tests.session.same_graph import compare
from tests.session.two_memories import TwoMemories

BIG = "list(range(500))"

STORIES = {
    "rebound natively": ["remote: d = [1]", "native: e = d", "native: d = 7", "remote: d", "look"],
    "rebound natively, read remotely": ["remote: d = [1]", "native: e = d; d = 7", "remote: n = [d, e]", "look"],
    "rebound in a remote cell": ["remote: d = [1]", "native: e = d", "remote: d = [2]", "look"],
    "deleted in a remote cell": ["remote: d = [1]", "native: box = [d]", "remote: del d", "look"],
    "deleted natively": ["remote: d = [1]", "native: e = d; del d", "remote: e.append(2)", "look"],
    "swapped natively": ["remote: d = [1]; e = [2]", "native: d, e = e, d", "remote: d.append(3)", "look"],
    "the same object remotely": ["remote: d = [1]", "native: e = d", "remote: same = [e is d]; e.append(2)", "look"],
    "changed by the other name": [
        "remote: d = [1]",
        "native: e = d",
        "remote: e.append(2)",
        "remote: d.append(3)",
        "look",
    ],
    "in a list of the notebook": [
        "remote: d = [1]",
        "native: box = [d, d]",
        "remote: box[0].append(2); n = [box]",
        "look",
    ],
    "in a list, and rebound": [
        "remote: d = [1]",
        "native: box = [d]",
        "remote: d = [2]",
        "remote: n = [box[0] is d, list(box[0])]",
        "look",
    ],
    "chains of names": [
        "remote: d = [1]",
        "native: e = d",
        "remote: d = [2]",
        "native: f = d",
        "remote: d = [3]",
        "remote: n = [d, e, f]",
        "look",
    ],
    "what it shares with the notebook is sent": [
        "native: x = [1]",
        f"remote: d = [x, {BIG}]",
        "native: e = d; x.append(2)",
        "remote: n = [list(e[0]), e[0] is x]",
        "look",
    ],
    "what it shares is sent by a list as well": [
        "native: x = [1]",
        f"remote: d = [x, {BIG}]",
        "native: e = d; d = None; x.append(2)",
        "remote: n = [list(e[0])]",
        "look",
    ],
    "fetched by one name and rebound": ["remote: d = [1]", "native: e = d", "fetch d", "remote: d.append(2)", "look"],
    "a covered value under two names": [
        "native: x = [1]; y = x; box = [x]",
        f"remote: x.extend({BIG})",
        "native: z = y",
        "native: x = 5",
        "remote: n = [len(y), z is y, box[0] is y]",
        "look",
    ],
    "given up": [
        "remote: d = [1]",
        "native: e = d",
        "remote: d = [2]",
        "native: e = None",
        "remote: d.append(3)",
        "look",
    ],
    "rebound to itself": ["remote: d = [1]", "native: e = d", "remote: e = d; d = [0]", "remote: e.append(1)", "look"],
    "two names in one cell": ["remote: d = [1]; e = d", "look", "remote: e.append(2); d = [3]", "look"],
    "a second name in a later cell": ["remote: d = [1]", "remote: e = d", "look", "remote: d.append(2)", "look"],
    "a second name, and the first is deleted": ["remote: d = [1]", "remote: e = d; del d", "look"],
    "a second name, and the first is rebound natively": ["remote: d = e = [1]", "native: d = 5", "look"],
    "a second name of what a list of the notebook has": [
        "remote: d = [1]",
        "native: box = [d]; d = None",
        "remote: e = box[0]",
        "look",
        "remote: n = [e is box[0]]",
        "look",
    ],
    "a new object under a name that was remote": ["remote: d = [1]", "remote: e = d; d = [1]", "look"],
    "two names that are rebound in turn": ["remote: d = e = [1]", "remote: d = [2]", "remote: e = d", "look"],
    "bound by two cells": ["remote: d = [1]", "native: e = d", "remote: e = [5]", "remote: n = [d, e]", "look"],
}


def play(steps: list[str], fetch_bytes: int = 0) -> TwoMemories:
    """Run the steps of a story; `fetch_bytes`: the size of the values that return from a cell."""
    return go_on(TwoMemories(fetch_bytes), steps)


def go_on(memories: TwoMemories, steps: list[str]) -> TwoMemories:
    """Run the steps of a story."""
    for step in steps:
        kind, _, source = step.partition(": ")
        if kind == "native":
            if type(box := memories.here.get("box")) is RemoteValue:  # as a user would who changes the list
                memories.here["box"] = box.fetch()
            memories.native(source)
        elif kind == "remote":
            memories.remote(source)
        elif kind == "look":
            look(memories)
        else:
            name = kind.removeprefix("fetch ")
            if type(value := memories.here.get(name)) is RemoteValue:
                memories.here[name] = value.fetch()
    return memories


def look(memories: TwoMemories) -> None:
    """Compare all values with the model's; the notebook keeps its remote values."""
    names = memories.user_names()
    remote = [name for name in names if type(value := memories.here[name]) is RemoteValue and not own_of(value)]
    for one, other in combinations(remote, 2):
        is_same = memories.model[one] is memories.model[other]
        assert (memories.here[one] is memories.here[other]) == is_same, (one, other)
    found = {name: fetched(memories.here[name]) for name in memories.user_names()}
    expected = {name: memories.model[name] for name in memories.user_names()}
    assert found == expected
    assert not [name for name, value in memories.here.items() if is_lost(value)]


def fetched(value: Any) -> Any:
    if type(value) is RemoteValue:
        return fetched(value.fetch())
    if type(value) is list:
        return [fetched(each) for each in value]
    return value


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES.keys())
def test_stories(steps: list[str]) -> None:
    play(steps)


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES.keys())
def test_the_same_graph_comes_home(steps: list[str]) -> None:
    memories = play([step for step in steps if step != "look"])
    memories.remote("0")
    memories.fetch_all()
    names = [name for name in memories.user_names() if type(memories.here[name]) is not list]
    compare(memories.here, memories.model, names)


NAMES = ("a", "b", "c")
NATIVE = st.one_of(
    st.builds("native: {} = {}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("native: {} = {}".format, st.sampled_from(NAMES), st.integers(0, 9)),
    st.builds("native: {} = [{}]".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("native: {0}, {1} = {1}, {0}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("native: box.append({})".format, st.sampled_from(NAMES)),
    st.builds("native: {0} = [0]; del {0}".format, st.sampled_from(NAMES)),
    st.just("native: box.clear()"),
)
REMOTE = st.one_of(
    st.builds("remote: {} = [{}]".format, st.sampled_from(NAMES), st.integers(0, 9)),
    st.builds("remote: {} = {}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("remote: {} = [{}]".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("remote: {}.append({})".format, st.sampled_from(NAMES), st.integers(10, 19)),
    st.builds("remote: n = [{} is {}]".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("remote: {0} = [0]; del {0}".format, st.sampled_from(NAMES)),
    st.just("remote: n = len(box) and str(box[-1])"),
)


OTHER = st.one_of(st.just("look"), st.builds("fetch {}".format, st.sampled_from(NAMES)))


@given(st.lists(st.one_of(NATIVE, REMOTE, OTHER), min_size=3, max_size=14), st.sampled_from([0, 40, 1 << 20]))
def test_random_sequences(steps: list[str], fetch_bytes: int) -> None:
    play(["native: a, b, c, box, n = 1, 2, 3, [], 0", "remote: a, b = [1], [2]", *steps, "look"], fetch_bytes)


SAVING = st.one_of(st.just("save"), st.just("replace"), st.just("save and replace"))
NAMED = st.one_of(
    st.builds("native: {} = {}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("native: {0}, {1} = {1}, {0}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("remote: {} = [{}]".format, st.sampled_from(NAMES), st.integers(0, 9)),
    st.builds("remote: {} = {}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("remote: {}.append({})".format, st.sampled_from(NAMES), st.integers(10, 19)),
    st.builds("remote: n = [{} is {}]".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
)


@given(st.lists(st.one_of(NAMED, NAMED, SAVING, st.just("look")), min_size=3, max_size=14))
@example(["save", "remote: b = [0]", "replace", "remote: b = a"])
@example(["remote: b = a", "remote: a = [0]", "save", "remote: a = [0]", "replace", "remote: a = [0]"])
@example(["remote: a = c", "remote: b = a", "save", "remote: a = [0]", "replace"])
def test_random_sequences_with_containers_that_end(steps: list[str]) -> None:
    """A value is what it is natively, or lost: the user binds the names of lost values again."""
    with TemporaryDirectory() as folder:
        memories = ReplacedMemories(0, directory=Path(folder))
        go_on(memories, ["native: a, b, c, n = 1, 2, 3, 0", "remote: a, b = [1], [2]"])
        for step in steps:
            if "save" in step:
                memories.save()
            if "replace" in step:
                memories.replace()
            if ":" in step or step == "look":
                go_on(memories, [step])
        look(memories)
