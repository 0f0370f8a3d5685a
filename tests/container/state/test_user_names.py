"""Which names of a namespace are the user's, those of IPython and of pickle aside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modal_gpu_magic.container.state.user_names import UserNames

EXIT = object()
"""A value that IPython binds."""


class Arrived:
    """A class that arrived with a value."""


def names_of(**bound: Any) -> UserNames:
    """Return the names of a namespace in which IPython has bound `exit`."""
    return UserNames({"exit": EXIT, **bound}, {"exit": EXIT})


@pytest.mark.parametrize(
    "name, value, is_the_users",
    [
        ("x", 1, True),
        ("_x", 1, True),
        ("__x", 1, True),
        ("exit", EXIT, False),
        ("exit", 1, True),
        ("_", 1, False),
        ("__", 1, False),
        ("___", 1, False),
        ("_i", "x", False),
        ("_ii", "x", False),
        ("_iii", "x", False),
        ("_i3", "x", False),
        ("_3", 1, False),
        ("_i_x", 1, True),
        ("__compiled_fn_4_f69af588_2837", 1, False),
        ("__builtins_dict___2", 1, False),
        ("__resume_at_48_5", 1, False),
        ("__import_torch_dot__dynamo", 1, False),
        ("__compiled_fn", 1, True),
        ("compiled_fn_4", 1, True),
        (5, 1, False),
    ],
)
def test_what_ipython_and_compilers_bind_is_not_the_users(name: Any, value: Any, is_the_users: bool) -> None:
    names = names_of(x=1)
    names.namespace[name] = value
    assert (name in names.bound) is is_the_users


def test_a_name_that_ipython_binds_anew_is_hidden() -> None:
    names = names_of()
    other = names.namespace["exit"] = object()
    assert names.bound == ("exit",)
    names.hidden.update(exit=other)
    assert not names.bound


def test_a_class_that_arrived_with_a_value_is_bound_and_not_the_users() -> None:
    names = names_of(x=1)
    names.bind_definitions({"Arrived": Arrived, "x": Arrived, "read": Arrived}, ("read",))
    assert names.namespace == {"exit": EXIT, "x": 1, "Arrived": Arrived}
    assert (names.bound, names.definitions) == (("x",), ("Arrived",))


@pytest.mark.parametrize("is_known, value", [(True, Arrived), (False, "bound by a cell")])
def test_a_class_that_the_notebook_names_or_a_cell_replaces_is_the_users(is_known: bool, value: Any) -> None:
    names = names_of()
    names.bind_definition("Arrived", Arrived)
    names.known.update(["Arrived"] if is_known else [])
    names.namespace["Arrived"] = value
    assert names.bound == ("Arrived",)
    names.bind_definitions({}, ("Arrived",))
    assert names.namespace["Arrived"] is value


def test_a_cell_that_reads_the_name_of_such_a_class_does_not_get_the_class() -> None:
    names = names_of()
    names.bind_definition("Arrived", Arrived)
    names.bind_definitions({}, ("other",))
    assert names.definitions == ("Arrived",)
    names.bind_definitions({"Arrived": Arrived}, ("Arrived",))
    assert names.namespace == {"exit": EXIT}
    assert not names.definitions


@pytest.mark.parametrize(
    "name, value, is_own", [("x", [1], True), ("x", None, True), ("exit", EXIT, False), ("exit", 1, True)]
)
def test_a_value_is_the_containers_own(name: str, value: Any, is_own: bool) -> None:
    names = names_of(**{name: value})
    assert names.is_own(name) is is_own
    assert not names.is_own("unbound")


def test_a_module_is_not_the_containers_own() -> None:
    assert not names_of(json=json).is_own("json")
