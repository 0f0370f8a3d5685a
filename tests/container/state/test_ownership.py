"""Who may send runs to a detached session, and what the next kernel gets of what the runs have returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.container.state.cell_values import OutgoingValues
from modal_gpu_magic.container.state.kernel_stores import KernelStores
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.ownership import Ownership
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import RESULT, Request, SentFile, Transfer
from modal_gpu_magic.wire.messages.events import ProjectFiles as Files
from tests.session.two_memories import new_namespace


class Session:
    """A namespace with the names x, y and z, and the kernels that have it."""

    def __init__(self) -> None:
        namespace = new_namespace()
        self.sync = NamespaceSync(namespace, dict(namespace))
        namespace.update(x=[1], y=[2], z=[3])
        self.stores = KernelStores()
        self.ownership = Ownership(self.sync, self.stores)

    def run(self, claim: str, run: str, returned: str = "", result: tuple[Any, ...] = (), log: str = "s") -> None:
        """Run a cell that returns some names of one letter."""
        self.ownership.begin_run(claim)
        values, files = Transfer(stream=b"1"), Files(contents={"a": SentFile(b"1")})
        self.ownership.end_run(Request(run, "1", "", 1, values=values, files=files, log=log), result, tuple(returned))


def names(leaving: OutgoingValues) -> tuple[set[str], set[str]]:
    """Return the names that are returned, and those that stay."""
    return set(leaving.values.names), {each.name for each in leaving.stays}


@pytest.mark.parametrize(
    "runs, attached, asked, returned",
    [
        ([("a", "1", "x")], "b", "1", "x"),
        ([("a", "1", "x"), ("a", "2", "y")], "b", "2", "y"),
        ([("a", "1", "x"), ("b", "2", "y")], "c", "2", "xy"),
        ([("a", "1", "x"), ("b", "2", "y"), ("c", "3", "z")], "d", "3", "xyz"),
        ([("a", "1", "x"), ("b", "2", "y"), ("b", "3", "z")], "c", "3", "z"),
        ([("a", "1", "xy"), ("b", "2", "yx")], "c", "2", "xy"),
        ([("a", "1", "x")], "a", "1", "x"),
        ([("a", "1", "x"), ("a", "2", "")], "b", "2", ""),
        ([("a", "1", "x"), ("a", "2", "y")], "b", "1", ""),
        ([("a", "1", "x"), ("b", "2", "y")], "c", "1", ""),
        ([], "b", "1", ""),
    ],
    ids=lambda each: "-".join("".join(run) for run in each) if isinstance(each, list) else None,
)
def test_a_kernel_that_attaches_gets_what_no_other_one_has_received(
    runs: list[tuple[str, str, str]], attached: str, asked: str, returned: str
) -> None:
    session = Session()
    for claim, run, those in runs:
        session.run(claim, run, those)
    leaving = session.ownership.hand_over(attached, asked, None)
    assert names(leaving) == (set(returned), set("xyz").difference(returned))
    assert session.ownership.claim == attached
    assert names(session.ownership.hand_over("later", asked, None)) == names(leaving)


def test_a_run_that_returns_nothing_ends_what_the_run_before_has_returned() -> None:
    """A cell that cannot begin, because a value could not be made, returns nothing."""
    session = Session()
    session.run("a", "1", "x", result=([4],))
    session.ownership.begin_run("a")
    assert names(session.ownership.hand_over("b", "1", None))[0] == set()
    session.run("c", "2", "y")
    assert names(session.ownership.hand_over("d", "2", None))[0] == {"y"}


def test_the_result_comes_with_its_run_alone() -> None:
    session = Session()
    session.run("a", "1", "x", result=([4],))
    assert names(session.ownership.hand_over("b", "1", None))[0] == {"x", RESULT}
    assert names(session.ownership.hand_over("c", "2", None))[0] == set()


def test_a_run_without_a_log_is_not_kept() -> None:
    session = Session()
    session.run("", "1", "x", result=([4],), log="")
    assert session.ownership._last is None
    assert names(session.ownership.hand_over("b", "1", None))[0] == set()


def test_a_run_is_kept_without_the_values_and_files_that_it_brought() -> None:
    session = Session()
    session.run("a", "1")
    assert session.ownership._last is not None
    kept = session.ownership._last[0]
    assert (kept.run, kept.values, kept.files, kept.modules) == ("1", Transfer(), Files(), None)


@pytest.mark.parametrize(
    "claims, ended",
    [("", ""), ("a", ""), ("aa", ""), ("ab", "a"), ("aba", "ab"), ("abc", "ab")],
)
def test_a_claim_ends_when_another_kernel_claims_the_session(claims: str, ended: str) -> None:
    for take in (Session.run, lambda each, claim, run: each.ownership.hand_over(claim, run, None)):
        session = Session()
        for number, claim in enumerate(claims):
            take(session, claim, str(number))
        assert "".join(claim for claim in "abc" if session.ownership.has_ended(claim)) == ended
        assert session.ownership.claim == claims[-1:]


def test_a_claim_that_another_container_had_goes_on() -> None:
    session = Session()
    session.ownership.resume("a")
    assert session.ownership.claim == "a"
    session.run("b", "1")
    assert session.ownership.has_ended("a")


@pytest.mark.parametrize("first, second, forgets", [("a", "a", False), ("a", "b", True), ("", "b", False)])
def test_another_kernel_shares_no_object_and_finds_no_buffer_of_the_former_one(
    tmp_path: Path, first: str, second: str, forgets: bool
) -> None:
    session, directory = Session(), tmp_path / "buffers"
    session.run(first, "1", "x")
    session.stores.store(str(directory)).put(memoryview(b"abc"))
    arrived = session.sync.take(("x",), InlineStore())
    session.sync.take((), InlineStore(), (arrived.base,))
    tokens = len(session.sync.table)
    assert tokens
    session.ownership.begin_run(second)
    assert (len(session.sync.table), directory.exists()) == ((0, False) if forgets else (tokens, True))


def test_the_store_of_an_attaching_kernel_outlives_the_one_of_the_former_kernel(tmp_path: Path) -> None:
    session, theirs, own = Session(), tmp_path / "theirs", tmp_path / "own"
    session.run("a", "1")
    session.stores.store(str(theirs))
    session.ownership.hand_over("b", "1", str(own))
    assert (theirs.exists(), own.exists()) == (False, True)


def test_a_container_that_keeps_nothing_packs_what_the_run_has_returned_once() -> None:
    session = Session()
    session.run("a", "1", "xy", result=([4],))
    assert names(session.ownership.leave_all()) == ({"x", "y", RESULT}, set())
    assert names(session.ownership.leave_all()) == (set(), set())
