"""The names of the container before: which ones wait for their saved values, and which ones are lost."""

from __future__ import annotations

import pytest

from modal_gpu_magic.container.state.unloaded_names import UnloadedNames
from modal_gpu_magic.wire.saved.manifest import SavedGroup


@pytest.fixture
def names() -> UnloadedNames:
    """Three names that wait, two of them in one group, and a name that is lost."""
    names = UnloadedNames()
    for group in (SavedGroup(("a", "b"), "1"), SavedGroup(("c",), "2")):
        names.waiting.update(dict.fromkeys(group.names, group))
    names.lost["d"] = "damaged"
    return names


@pytest.mark.parametrize(
    "discarded, groups",
    [
        ("", {"ab": "1", "c": "2"}),
        ("a", {"b": "1", "c": "2"}),
        ("ab", {"c": "2"}),
        ("c", {"ab": "1"}),
        ("abc", {}),
        ("d", {"ab": "1", "c": "2"}),
    ],
)
def test_a_group_is_loaded_without_the_names_that_are_bound_again(
    names: UnloadedNames, discarded: str, groups: dict[str, str]
) -> None:
    for name in discarded:
        names.discard(name)
    assert {"".join(each): group.file for each, group in names.groups().items()} == groups
    assert "".join(sorted(names.waiting)) == "".join(sorted("".join(groups)))


def test_a_loaded_name_does_not_come_back_with_a_discarded_one(names: UnloadedNames) -> None:
    names.waiting.pop("b")
    names.discard("a")
    assert set(names.waiting) == {"c"}


def test_the_reason_why_a_name_is_unbound(names: UnloadedNames) -> None:
    assert "not loaded yet" in names.why_unbound("a")
    assert (names.why_unbound("d"), names.why_unbound("x")) == ("damaged", "")
    names.bound(("d", "x"))
    assert names.why_unbound("d") == ""


def test_a_new_namespace_waits_for_nothing(names: UnloadedNames) -> None:
    names.clear()
    assert [names.why_unbound(name) for name in "abcd"] == [""] * 4
