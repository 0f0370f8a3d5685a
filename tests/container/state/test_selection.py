"""What returns to the notebook within the size limit, and why the rest stays."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from modal_gpu_magic.container.state.selection import SMALL_BYTES, Chosen, Selection, in_room
from modal_gpu_magic.container.state.user_names import UserNames
from modal_gpu_magic.errors import NoRoomError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.marks import Marks
from modal_gpu_magic.wire.messages.events import Request, token_name
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from tests.session.two_memories import new_namespace

VALUES: dict[str, Any] = {"s": b"s" * 1000, "m": b"m" * 2000, "l": b"l" * 4000}
"""A small, a medium and a large value, whose sizes are their lengths."""


class Container:
    """A namespace whose lists x, y and z the notebook has as well."""

    def __init__(self) -> None:
        self.namespace = new_namespace()
        self.namespace.update(x=[1], y=[2], z=["z" * 5000])
        self.names = UserNames(self.namespace, {})
        self.table = IdentityTable(side=1)
        self.table.learn(self.table.next_base(), {number: self.namespace[name] for number, name in enumerate("xyz")})
        self.selection = Selection(self.names, Marks(self.namespace, self.table))

    def tokens(self, names: str) -> tuple[int, ...]:
        """Return the tokens of objects by their names."""
        return tuple(self.table.token(self.namespace[name]) for name in names)


def request(nbytes: int = 10_000, out: str = "", named: tuple[int, ...] = ()) -> Request:
    """Return a request with a size limit."""
    return Request("1", "", "", 1, fetch_bytes=nbytes, fetch_names=tuple(out), named=named)


@pytest.mark.parametrize(
    "nbytes, out, returned",
    [
        (7_000, "", "sml"),
        (6_999, "", "sm"),
        (3_000, "", "sm"),
        (2_999, "", "s"),
        (999, "", ""),
        (0, "l", "l"),
        (0, "slm", "sml"),
        (2_999, "l", "ls"),
    ],
)
def test_the_largest_values_that_nobody_asks_for_stay_first(nbytes: int, out: str, returned: str) -> None:
    chosen = Container().selection.choose(VALUES, request(nbytes, out), Hasher())
    assert list(chosen.values.items()) == [(name, VALUES[name]) for name in returned]
    assert set(chosen.stays) == set(VALUES).difference(returned)
    assert sorted(group.names for group in chosen.groups) == sorted((name,) for name in returned)


@pytest.mark.parametrize("no_room, why", [("", "4.0 kB, over --fetch 3.0kB"), ("/dev/shm is full", "/dev/shm is full")])
def test_the_reason_why_a_value_stays(no_room: str, why: str) -> None:
    assert Container().selection.choose(VALUES, request(3_000), Hasher(), no_room).stays == {"l": why}


def test_what_cannot_be_pickled_stays() -> None:
    chosen = Container().selection.choose({"lock": threading.Lock(), "s": VALUES["s"]}, request(), Hasher())
    assert chosen.values == {"s": VALUES["s"]}
    assert chosen.stays == {"lock": "locks cannot be pickled"}
    assert [group.names for group in chosen.groups] == [("s",)]


def test_a_module_takes_no_room() -> None:
    assert Container().selection.choose({"json": json}, request(0), Hasher()).values == {"json": json}


@pytest.mark.parametrize(
    "known, named, nameless, nbytes, added",
    [
        ("", "", "", 10_000, ""),
        ("x", "", "", 10_000, "x"),
        ("xz", "", "", 10_000, "xz"),
        ("xz", "", "", 1_000, "x"),
        ("x", "", "", 0, ""),
        ("", "x", "", 10_000, "x"),
        ("", "y", "", 10_000, ""),
        ("y", "", "", 10_000, ""),
        ("", "", "y", 10_000, "y"),
        ("x", "", "y", 10_000, "xy"),
    ],
)
def test_small_objects_inside_staying_values_return(
    known: str, named: str, nameless: str, nbytes: int, added: str
) -> None:
    container = Container()
    namespace = container.namespace
    container.names.known.update(known)
    staying, chosen = [[namespace["x"], namespace["z"]]], Chosen()
    those = [namespace[name] for name in nameless]
    its = request(nbytes, named=container.tokens(named))
    container.selection.add_small_members(chosen, staying, those, its, Hasher())
    assert chosen.values == {token_name(container.table.token(namespace[name])): namespace[name] for name in added}


def test_a_returned_name_does_not_return_its_object_twice() -> None:
    container = Container()
    x = container.namespace["x"]
    container.names.known.add("x")
    chosen = Chosen({"x": x})
    container.selection.add_small_members(chosen, [[x]], (), request(), Hasher())
    assert chosen.values == {"x": x}


def test_the_room_is_what_the_returned_values_leave() -> None:
    assert Chosen().room(5_000) == 5_000
    assert Chosen({"s": VALUES["s"], "m": VALUES["m"]}).room(5_000) == 2_000


@pytest.mark.parametrize("cause, why", [(NoRoomError("/dev/shm is full"), "/dev/shm is full"), (OSError(), "outer")])
def test_without_room_only_values_that_the_message_holds_are_packed(cause: Exception, why: str) -> None:
    tried: list[Any] = []

    def pack(fitting: Request, no_room: str = "") -> str:
        tried.append((fitting.fetch_bytes, fitting.fetch_names, no_room))
        if len(tried) == 1:
            raise NoRoomError("outer") from cause
        return "packed"

    assert in_room(request(10_000, "l"), pack) == "packed"
    assert tried == [(10_000, ("l",), ""), (SMALL_BYTES, (), why)]
