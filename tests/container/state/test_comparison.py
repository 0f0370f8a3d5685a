"""What a cell has bound, changed in place and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.container.state import comparison
from modal_gpu_magic.container.state.cell_values import Before
from modal_gpu_magic.container.state.comparison import Comparison, Offer
from modal_gpu_magic.container.state.shared_objects import SharedObjects
from modal_gpu_magic.container.state.user_names import UserNames
from modal_gpu_magic.plan.cell.import_statements import import_statements
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.marks import Marks
from modal_gpu_magic.wire.messages.events import RESULT, Request
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.values.imports import Import
from tests.session.two_memories import new_namespace


class Container:
    """A namespace with lists that the notebook has (x, and y in which x is; k), and one that it lacks (own)."""

    def __init__(self) -> None:
        self.namespace = new_namespace()
        names = UserNames(self.namespace, dict(self.namespace))
        self.namespace.update(x=[1], k=[2], own=[3])
        self.namespace["y"] = [self.namespace["x"]]
        names.known.update("xyk")
        self.table = IdentityTable(side=1)
        self.table.learn(self.table.next_base(), {number: self.namespace[name] for number, name in enumerate("xyk")})
        marks = Marks(self.namespace, self.table)
        self.comparison = Comparison(names, marks, SharedObjects(names, marks))

    def run(self, source: str, result: tuple[Any, ...] = (), seconds: float = 0.0) -> tuple[Before, Offer, set[str]]:
        """Run a cell; return what was before, what it may return, and the deleted names."""
        names = analyse(source)
        request = Request(
            "1",
            "",
            source,
            1,
            reads=tuple(names.reads),
            binds=tuple(names.binds),
            deletes=tuple(names.deletes),
            mutates=names.mutates,
            import_statements=import_statements(source),
        )
        before = self.comparison.before(request, Hasher())
        exec(source, self.namespace)
        bound = self.comparison.bound(request, before)
        offer = self.comparison.offer(request, before, bound, result, seconds, Hasher())
        return before, offer, set(self.comparison.gone(before))


@pytest.mark.parametrize(
    "source, bound, offered, gone",
    [
        ("len(x)", "", "", ""),
        ("x.append(2)", "", "x", ""),
        ("x.append(2); len(y)", "", "xy", ""),
        ("k.append(2)", "", "k", ""),
        ("k[0] = 2", "", "", ""),
        ("own.append(2)", "", "", ""),
        ("y[0].append(2)", "", "y", ""),
        ("z = 1", "z", "z", ""),
        ("z = k", "z", "z", ""),
        ("k = [2]", "k", "k", ""),
        ("k = k", "", "", ""),
        ("own = own", "o", "o", ""),
        ("del k", "", "", "k"),
        ("del k; k = [2]", "k", "k", ""),
        ("if not x: del k, q", "", "", ""),
        ("if not x: q = 1\nif not x: del q", "", "", ""),
        ("q = 1\ndel q", "", "", "q"),
        ("for _ in (1,): pass", "_", "_", ""),
        ("z = 1; k.append(z)", "z", "zk", ""),
    ],
)
def test_what_a_cell_returns(source: str, bound: str, offered: str, gone: str) -> None:
    container = Container()
    before, offer, deleted = container.run(source)
    assert {name[0] for name in offer.bound} == set(bound)
    assert {name[0] for name in offer.values} == set(offered)
    assert deleted == set(gone)
    assert "q" not in container.namespace
    assert not set(before.unbound) & container.namespace.keys()
    assert all(value is container.namespace[name] for name, value in offer.values.items())


@pytest.mark.parametrize(
    "source, nameless",
    [
        ("x.append(2); x = 3", [[1, 2]]),
        ("x.append(2); del x", [[1, 2]]),
        ("k.append(x); del k", [[2, [1]]]),
        ("x = 3", []),
        ("del x", []),
        ("x.append(2)", []),
    ],
)
def test_a_value_that_changed_before_it_lost_its_name(source: str, nameless: list[Any]) -> None:
    container = Container()
    container.namespace["y"].append(container.namespace["k"])  # keeps the objects alive, as another name would
    assert container.run(source)[1].nameless == nameless


def test_a_result_and_the_names_of_import_statements() -> None:
    _, offer, _ = Container().run("import json\nfrom json import dumps\nz = json", result=(5,))
    assert offer.values == {RESULT: 5}
    assert offer.imported == {"json": Import("json"), "dumps": Import("json", "dumps"), "z": Import("json")}


def test_what_is_recorded_before_a_cell() -> None:
    container = Container()
    x, k = container.namespace["x"], container.namespace["k"]
    container.namespace["own"].append(k)
    before, _, _ = container.run("x.append(len(own)); x = 2; k = x")
    assert before.candidates == {"x": container.table.token(x)}
    assert (before.own, before.own_tokens) == (("own",), {container.table.token(k)})
    assert list(before.held) == ["x"]
    assert before.held["x"] is x


LARGE = {"ALWAYS_CHECKED_BYTES": 0, "HASH_BYTES_PER_SECOND": 1.0, "CHECK_SECONDS": 0.0}
"""Limits under which each value is too large to compare in time."""


@pytest.mark.parametrize(
    "limits, seconds, source, changed, unchecked",
    [
        ({}, 0.0, "k.append(2)", "k", ""),
        (LARGE, 0.0, "k.append(2)", "", "k"),
        (LARGE, 0.0, "k[0]", "", ""),
        (LARGE | {"CHECK_SECONDS": 1e6}, 0.0, "k.append(2)", "k", ""),
        (LARGE, 1e6, "k.append(2)", "k", ""),
        (LARGE | {"CHECK_SHARE": 0.0}, 1e6, "k.append(2)", "", "k"),
        (LARGE | {"ALWAYS_CHECKED_BYTES": 1000}, 0.0, "k.append(2)", "k", ""),
        (LARGE | {"HASH_BYTES_PER_SECOND": 1e12, "CHECK_SECONDS": 60.0}, 0.0, "k.append(2)", "k", ""),
    ],
)
def test_a_value_that_is_too_large_to_compare_in_time(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, float], seconds: float, source: str, changed: str, unchecked: str
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(comparison, name, value)
    _, offer, _ = Container().run(source, seconds=seconds)
    assert (set(offer.values), set(offer.unchecked)) == (set(changed), set(unchecked))
