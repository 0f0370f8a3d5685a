"""Values that the container holds for remote values: by number, whatever their names are bound to."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.container.state.held_values import HeldValues
from modal_gpu_magic.container.state.namespace import NOT_HELD, NamespaceSync
from modal_gpu_magic.errors import LostValueError
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import Request
from modal_gpu_magic.wire.values.remote import held_in, held_name


@pytest.fixture
def namespace() -> dict[str, Any]:
    return {"d": [1], "e": [2]}


@pytest.fixture
def held(namespace: dict[str, Any]) -> HeldValues:
    return HeldValues(namespace)


def test_placeholder_names() -> None:
    assert held_in(held_name(12)) == 12
    assert [held_in(name) for name in ("d", "_12", "<object 3>", "<cell>")] == [None] * 4


def test_a_held_value_outlives_its_name(held: HeldValues, namespace: dict[str, Any]) -> None:
    first = namespace["d"]
    held.note([(1, "d")], [])
    namespace["d"] = [3]
    held.note([(1, "d"), (2, "d"), (3, "nobody")], [])  # a kernel repeats what it does not know to have arrived
    assert held.values() == {"<held 1>": [1], "<held 2>": [3]}
    assert held.values()["<held 1>"] is first
    held.note([], [1])
    assert held.values() == {"<held 2>": [3]}


def test_names_of_the_notebook(held: HeldValues, namespace: dict[str, Any]) -> None:
    held.note([(1, "d")], [])
    assert held.bind([("f", 1), ("e", 2)]) == {"e"}
    assert namespace["f"] is namespace["d"]
    assert "e" not in namespace, "its older value is not what the notebook has under the name"


def test_the_placeholder_names_are_bound_only_inside_the_block(held: HeldValues, namespace: dict[str, Any]) -> None:
    held.note([(1, "d")], [])
    with held.in_namespace():
        assert namespace["<held 1>"] is namespace["d"]
    assert sorted(namespace) == ["d", "e"]


def test_the_saved_state_has_them(held: HeldValues) -> None:
    held.restore({"d": [5], "<held 4>": [6], "<object 7>": [8]})
    assert held.values() == {"<held 4>": [6]}
    held.clear()
    assert held.values() == {}


def test_a_value_that_is_not_held_refuses_the_cell_and_the_fetch() -> None:
    sync = NamespaceSync({"d": [1]}, {})
    request = Request("r", "", "e", 1, aliases=(("e", 9),), reads=("e",))
    assert sync.arrive(request, InlineStore()) == {"e": NOT_HELD}
    for name in ("nobody", held_name(9), "<object 5>"):
        with pytest.raises(LostValueError, match="the container no longer has the value"):
            sync.take([name], InlineStore())
