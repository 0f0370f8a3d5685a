"""The values that a cell returns, as a part of its answer."""

from __future__ import annotations

import json
import xml.dom
from dataclasses import fields
from fractions import Fraction
from typing import Any

import pytest

from modal_gpu_magic.container.state.cell_values import OutgoingValues, looks_of, submodules_of
from modal_gpu_magic.wire.messages.events import Answer, Shared, StayedValue, Transfer
from modal_gpu_magic.wire.values.imports import Import

STAYED = (StayedValue("x", "list", "[]", "why"),)
VALUES = OutgoingValues(
    values=Transfer(stream=b"1"),
    stays=STAYED,
    redescribed=STAYED * 2,
    gone=("a",),
    looks={"b": ("list", "[]")},
    submodules=("c.d",),
    imported={"e": Import("e")},
    stale=(1,),
    forgot=(2,),
    shares={"f": Shared((3,), ("g",))},
    places={4: "<h:i>"},
)


def test_an_answer_has_all_that_leaves_the_container() -> None:
    assert all(getattr(VALUES, each.name) for each in fields(VALUES)), "a new field needs a value in this test"
    before = Answer(generation="g", version="1", names=("x",))
    answer = VALUES.added_to(before, {"numpy": "2"})
    assert {each.name: getattr(answer, each.name) for each in fields(VALUES)} == {
        each.name: getattr(VALUES, each.name) for each in fields(VALUES)
    }
    assert (answer.generation, answer.names, answer.versions) == ("g", ("x",), {"numpy": "2"})


@pytest.mark.parametrize(
    "value, look",
    [
        (Fraction(1, 2), ("Fraction", "Fraction")),
        (json, ("module", "module json")),
        ([Fraction(1, 2)], None),
        (1, None),
        (type("Mine", (), {"__module__": "__main__"})(), None),
    ],
)
def test_the_look_of_a_value_that_the_notebook_may_be_unable_to_make(value: Any, look: tuple[str, str] | None) -> None:
    assert looks_of({"x": value}) == ({"x": look} if look else {})


@pytest.mark.parametrize(
    "source, named",
    [
        ("xml.dom", ("xml.dom",)),
        ("xml", ()),
        ("xml.unknown", ()),
        ("json.decoder", ()),
        ("import xml.dom\ny = xml.dom", ("xml.dom",)),
    ],
)
def test_the_submodules_of_returned_modules_that_a_cell_names(source: str, named: tuple[str, ...]) -> None:
    assert submodules_of([1, xml], source) == named
    assert submodules_of([1], source) == ()
