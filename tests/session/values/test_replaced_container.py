"""Random notebooks whose container is replaced have, after each cell, what the same cells have in one process.

A name may be lost, and is then named; no value is another one, and what is one object stays one.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic.container.state import saving
from modal_gpu_magic.container.state.saved_session import Options
from modal_gpu_magic.wire.values.remote import RemoteValue
from tests.session.replaced_memories import ReplacedMemories
from tests.session.same_graph import compare
from tests.session.values.test_one_memory import MOST_STAY, SETUP, cell

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 40


def play(seed: int, fetch_bytes: int, directory: Path, *, always_saved: bool) -> ReplacedMemories:
    choose = random.Random(seed)
    notebook = ReplacedMemories(fetch_bytes, directory=directory)
    notebook.native(SETUP)
    history = [SETUP]
    try:
        for _ in range(STEPS):
            source = cell(choose, notebook.model)
            where = choose.choice(["native", "remote", "remote"])
            history.append(f"{where}: {source}")
            some_stay = fetch_bytes <= MOST_STAY
            if where == "native" and some_stay:
                notebook.fetch_all()
            getattr(notebook, where)(source)
            if choose.random() < 0.2:
                history.append("save")
                notebook.save()
            if choose.random() < 0.15:
                if always_saved:
                    notebook.save()
                history.append("replace")
                notebook.replace()
                history.append(f"lost: {notebook.losses}")
            if not some_stay or not choose.randrange(4):
                notebook.fetch_all()
                compare(notebook.model, notebook.here, notebook.user_names())
    except Exception as error:
        error.add_note("\n".join(history)) if hasattr(error, "add_note") else None
        raise
    return notebook


@pytest.fixture(params=["at once", "when read"])
def lazily(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small values are loaded at once, or as large ones are: when a cell reads them."""
    if request.param == "when read":
        monkeypatch.setattr(saving, "EARLY_BYTES", 0)


@pytest.mark.usefixtures("lazily")
@pytest.mark.parametrize("fetch_bytes", [300, 700, MOST_STAY, 1 << 30])
@pytest.mark.parametrize("seed", range(2000, 2003))
def test_nothing_is_lost_of_what_was_saved(seed: int, fetch_bytes: int, tmp_path: Path) -> None:
    notebook = play(seed, fetch_bytes, tmp_path, always_saved=True)
    assert notebook.containers > 2
    assert notebook.losses == 0


@pytest.mark.usefixtures("lazily")
@pytest.mark.parametrize("fetch_bytes", [300, 700, MOST_STAY])
@pytest.mark.parametrize("seed", range(3000, 3003))
def test_also_where_the_last_runs_were_not_saved(seed: int, fetch_bytes: int, tmp_path: Path) -> None:
    play(seed, fetch_bytes, tmp_path, always_saved=False)


BIG = "list(range(2000))"
"""A value that stays in the container."""


@pytest.fixture
def notebook(tmp_path: Path) -> ReplacedMemories:
    made = ReplacedMemories(1000, directory=tmp_path)
    made.native("import numpy as np, threading\na = b = c = d = None\nt = 'a.append(1)'")
    return made


def values(notebook: ReplacedMemories, *names: str) -> list[Any]:
    return [
        notebook.here[name].fetch() if type(notebook.here[name]) is RemoteValue else notebook.here[name]
        for name in names
    ]


def test_a_later_run_costs_only_what_it_may_have_changed(notebook: ReplacedMemories) -> None:
    for source in (f"a = {BIG}", f"b = {BIG}", f"c = {BIG}", "d = [c]"):
        notebook.remote(source)
    notebook.save()
    notebook.remote("b.append(1)")
    notebook.remote(f"e = {BIG}")
    notebook.replace()
    assert notebook.rewinds == 1
    assert notebook.here["b"] is notebook.here["e"] is None
    notebook.remote("a[0] = 5")
    assert values(notebook, "a")[0] == [5, *range(1, 2000)]
    notebook.remote("d[0][0] = 7")
    assert values(notebook, "c")[0] == [7, *range(1, 2000)]


def test_what_shares_objects_with_a_changed_value_is_lost(notebook: ReplacedMemories) -> None:
    notebook.remote(f"a = {BIG}; b = [a] * 200; c = {BIG}")
    notebook.save()
    notebook.remote("b[0][0] = 9")
    notebook.replace()
    assert notebook.here["a"] is None
    assert type(notebook.here["c"]) is RemoteValue


def test_what_a_function_changes_through_a_global_name_is_lost(notebook: ReplacedMemories) -> None:
    notebook.remote(f"a = {BIG}; b = {BIG}")
    notebook.remote("def f(): a.append(1)")
    notebook.save()
    notebook.remote("f()")
    notebook.replace()
    assert notebook.here["a"] is None
    assert len(values(notebook, "b")[0]) == 2000


def test_a_cell_that_may_look_up_any_name_costs_all(notebook: ReplacedMemories) -> None:
    notebook.remote(f"a = {BIG}; b = {BIG}")
    notebook.save()
    notebook.remote("exec(t)")
    notebook.replace()
    assert notebook.here["a"] is notebook.here["b"] is None


def test_a_value_that_shares_objects_with_the_notebook_is_lost_with_the_tokens(notebook: ReplacedMemories) -> None:
    notebook.native("d = {'k': 1}")
    notebook.remote(f"a = [d, {BIG}]; b = {BIG}")
    notebook.save()
    notebook.remote("c = 1")
    notebook.replace()
    assert notebook.here["a"] is None
    notebook.native("a = [d]")
    notebook.remote("a[0]['k'] = 2")
    assert notebook.here["d"] == {"k": 2}
    assert len(values(notebook, "b")[0]) == 2000


def test_two_names_of_one_function_one_sentinel_and_one_class_stay_one(notebook: ReplacedMemories) -> None:
    notebook.remote(
        f"""
def make(big={BIG}):
    sentinel = object()
    class Box:
        items = [sentinel, big]
    def inner(x=sentinel): return x is sentinel
    return sentinel, Box, inner, Box(), big
a, b, c, d, e = make()
g = c
"""
    )
    notebook.save()
    notebook.replace()
    notebook.remote("h = [c(a), b.items[0] is a, type(d) is b, c is g, b.items[1] is e]")
    assert notebook.here["h"] == [True] * 5


def test_a_name_deleted_or_bound_again_before_it_is_loaded_does_not_come_back(
    notebook: ReplacedMemories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "EARLY_BYTES", 0)
    notebook.remote(f"a = {BIG}; b = [a] * 300; c = {BIG}")
    notebook.save()
    notebook.replace()
    notebook.native("a = 1; del c")
    notebook.remote("d = len(b), a")
    notebook.save()
    notebook.replace()
    notebook.remote("e = len(b), len(b[0]), a")
    assert notebook.here["e"] == (300, 2000, 1)
    assert "c" not in notebook.container.names


def test_what_cannot_be_saved_is_named_and_lost(notebook: ReplacedMemories) -> None:
    notebook.remote(f"a = [threading.Lock(), {BIG}]; b = {BIG}; c = [a, b]")
    notebook.save()
    assert notebook.saved.take_news() == [
        "Not saved, so lost if the container ends: `a`: it holds a lock (_thread.lock) at `[0]`; "
        "`c`: it holds a lock (_thread.lock) at `[0][0]`."
    ]
    notebook.save()
    assert notebook.saved.take_news() == []
    notebook.replace()
    assert notebook.here["a"] is notebook.here["c"] is None
    assert len(values(notebook, "b")[0]) == 2000


def test_the_largest_values_are_left_out_first(notebook: ReplacedMemories) -> None:
    notebook.saved.options(Options(200_000))
    notebook.remote("a, b, c = np.ones(10_000), np.ones(12_000), np.ones(9_000)")
    notebook.save()
    assert notebook.saved.take_news() == ["Not saved, so lost if the container ends: `b`: 96 kB, over --save 200kB."]


def test_an_unchanged_value_is_not_written_again(notebook: ReplacedMemories, tmp_path: Path) -> None:
    notebook.remote("a, b = np.ones(100_000), np.zeros(100_000)")
    notebook.save()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    notebook.remote("b[0] = 1")
    notebook.save()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert sum(before.get(path) == at for path, at in after.items()) >= 2
    assert len(after) == len(before)
    assert not list(tmp_path.glob("*/.*"))


def test_a_value_that_is_not_saved_comes_from_the_notebook_again(notebook: ReplacedMemories) -> None:
    notebook.saved.options(Options(200_000))
    notebook.limit = 200_000
    notebook.native("a, b = np.ones(300_000), np.ones(10); c = [a]")
    notebook.fetch_bytes = 1 << 30
    notebook.remote("d = a.sum() + b.sum(), c[0] is a")
    notebook.save()
    notebook.replace()
    notebook.remote("a[0] = 5; d = a.sum(), c[0] is a, c[0][0]")
    assert notebook.here["d"] == (300_004.0, True, 5.0)
    assert notebook.here["a"][0] == 5.0
    assert notebook.here["c"][0] is notebook.here["a"]


def test_a_group_that_is_loaded_later_does_not_replace_a_name_bound_since(
    notebook: ReplacedMemories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "EARLY_BYTES", 0)
    notebook.remote(f"a = {BIG}; b = [a] * 300")
    notebook.save()
    notebook.replace()
    notebook.remote("a = 5")
    notebook.remote("d = len(b)")
    notebook.remote("e = a, len(b[0])")
    assert notebook.here["e"] == (5, 2000)
    assert notebook.here["a"] == 5


def test_a_fetch_after_the_last_save_costs_what_may_share_objects(notebook: ReplacedMemories) -> None:
    notebook.remote(f"a = [{BIG}]; b = {BIG}")
    notebook.save()
    notebook.native("c = None")
    notebook.here["c"] = notebook.model["c"] = notebook.here["a"].fetch()
    notebook.replace()
    assert notebook.rewinds == 1
    assert notebook.here["a"] is notebook.here["b"] is None, (
        "until the next answer, any value may hold the fetched objects"
    )
    notebook.remote("c[0][0] = 8; d = c[0][0]")
    assert notebook.here["d"] == 8


def test_a_fetch_that_is_saved_keeps_its_objects(notebook: ReplacedMemories) -> None:
    notebook.remote(f"a = [{BIG}]; b = {BIG}")
    notebook.here["c"] = notebook.here["a"].fetch()
    notebook.save()
    notebook.replace()
    assert notebook.rewinds == 0
    notebook.model["c"] = notebook.model["a"]
    notebook.remote("c[0][0] = 8; d = a[0][0], c is a")
    assert notebook.here["d"] == (8, True)
