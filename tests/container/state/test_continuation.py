"""Whether a new container continues the namespace of one that has ended, and what the notebook is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.container.state.continuation import NOT_WITHOUT_A_CELL, Continuation
from modal_gpu_magic.container.state.installed_versions import PYTHON
from modal_gpu_magic.container.state.kernel_stores import KernelStores
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.ownership import Ownership
from modal_gpu_magic.container.state.restoring import CHANGED_SINCE, NOT_RELATED
from modal_gpu_magic.container.state.saved_session import Options, SavedSession
from modal_gpu_magic.container.state.saving import Moment
from modal_gpu_magic.errors import CopyError, MachineError
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import Need, Request, RunTrace
from tests.session.two_memories import new_namespace

NEVER = 1e9
"""Seconds that do not pass: a test saves by itself."""
STATES = {"state": {"": "value"}}
KNOWN = (RunTrace("1"),)
LATER = (RunTrace("1"), RunTrace("2", frozenset("x")))
NOTHING_SAVED = "nothing was saved"


class Container:
    """A container whose session has its saved state in a directory; None: no Volume is mounted."""

    def __init__(self, name: str, directory: Path | None) -> None:
        self.namespace = new_namespace()
        self.sync = NamespaceSync(self.namespace, dict(self.namespace))
        self.ownership = Ownership(self.sync, KernelStores())
        self.saved = SavedSession(directory, name, self.sync, self._moment, NEVER)
        self.saved.options(Options(10**9))
        self.continuation = Continuation(name, self.sync, self.saved, self.ownership)

    def _moment(self) -> Moment:
        return Moment(self.continuation.generation, claim=self.ownership.claim, python=PYTHON, states=STATES)

    def run(self, run: str, source: str, claim: str = "a") -> None:
        self.ownership.begin_run(claim)
        self.saved.ran(run)
        exec(source, self.namespace)

    def shared(self, name: str) -> list[int]:
        """Give the notebook a value; return the tokens of all objects that the notebook has."""
        transfer = self.sync.take((name,), InlineStore())
        self.sync.take((), InlineStore(), (transfer.base,))
        return list(self.sync.table.token_of.values())

    def need(self, generation: str | None, owner: str = "a", **more: Any) -> Need | None:
        """Return what the notebook must know; the names are in order."""
        need = self.continuation.need(Request("9", "1", "", 9, generation=generation, owner=owner, **more))
        return None if need is None else replace(need, restored=tuple(sorted(need.restored)))


@pytest.fixture
def second(tmp_path: Path) -> Container:
    """The container after the one that has run run 1 and has saved x and y."""
    first = Container("one", tmp_path)
    first.run("1", "x, y = [1], [2]")
    assert first.saved.save_now() == {}
    return Container("two", tmp_path)


@pytest.mark.parametrize(
    "generation, more, reason, now, claim, restored, why",
    [
        (None, {}, None, "two", "", (), {}),
        ("two", {}, None, "two", "", (), {}),
        ("one", {"history": KNOWN}, "restored", "one", "a", ("x", "y"), {}),
        ("one", {"history": LATER}, "rewound", "two", "", ("y",), {"": CHANGED_SINCE, "x": CHANGED_SINCE}),
        ("one", {"history": KNOWN, "owner": "b"}, "rewound", "two", "", ("x", "y"), {"": CHANGED_SINCE}),
        ("one", {"history": KNOWN, "fetched": (10**12,)}, "rewound", "two", "", ("x", "y"), {"": CHANGED_SINCE}),
        ("one", {}, "generation", "two", "", (), {"": NOT_RELATED}),
        ("none", {"history": KNOWN}, "generation", "two", "", (), {"": NOT_RELATED}),
    ],
)
def test_what_the_notebook_must_know_before_a_cell(
    second: Container,
    generation: str | None,
    more: dict[str, Any],
    reason: str | None,
    now: str,
    claim: str,
    restored: tuple[str, ...],
    why: dict[str, str],
) -> None:
    need = second.need(generation, **more)
    assert (second.continuation.generation, second.ownership.claim) == (now, claim)
    assert need == (None if reason is None else Need(now, reason, restored=restored, why=why))  # type: ignore[arg-type]  # a reason
    assert second.need(now) is None, "it is said once"


def test_a_container_that_has_run_a_cell_continues_no_other_one(second: Container) -> None:
    second.run("2", "x = 5")
    need = second.need("one", history=KNOWN)
    assert need == Need("two", "generation", why={"": NOT_RELATED})
    assert second.namespace["x"] == 5


@pytest.mark.parametrize("is_mounted", [True, False])
def test_without_a_saved_state_the_reason_is_said(tmp_path: Path, is_mounted: bool) -> None:
    container = Container("two", tmp_path if is_mounted else None)
    assert container.need("one", history=KNOWN) == Need("two", "generation", why={"": NOTHING_SAVED})
    with pytest.raises(
        MachineError, match=rf"^the value is lost: {NOTHING_SAVED}\. Run the cell that made it again\.$"
    ):
        container.continuation.continue_for_fetch("one", KNOWN, (), "a")


@pytest.mark.parametrize("is_fetched_before", [True, False])
def test_a_restored_state_says_what_the_container_before_gave_up(tmp_path: Path, is_fetched_before: bool) -> None:
    first = Container("one", tmp_path)
    first.run("1", "x, y = {1}, 2")
    tokens = first.shared("x")
    first.run("2", "del x")
    first.saved.save_now()
    second = Container("two", tmp_path)
    if is_fetched_before:
        second.continuation.continue_for_fetch("one", LATER, (), "a")
        second.saved.restore(("y",))
    assert second.need("one", history=LATER) == Need("one", "restored", restored=("y",), forgot=tuple(tokens))


def test_a_restored_state_says_what_was_not_saved(tmp_path: Path) -> None:
    first = Container("one", tmp_path)
    first.run("1", "import threading\nlock, x = threading.Lock(), [1]")
    first.saved.save_now()
    need = Container("two", tmp_path).need("one", history=KNOWN)
    assert need is not None
    assert (need.reason, need.restored) == ("restored", ("threading", "x"))
    assert need.why == {"lock": "it was not saved: locks cannot be pickled"}


@pytest.mark.parametrize(
    "generation, history, received, owner, continues, error",
    [
        (None, (), (), "a", False, ""),
        ("two", (), (), "a", False, ""),
        ("one", KNOWN, (), "a", True, ""),
        ("one", LATER, (), "a", False, NOT_WITHOUT_A_CELL),
        ("one", KNOWN, (), "b", False, NOT_WITHOUT_A_CELL),
        ("one", KNOWN, (10**12,), "a", False, NOT_WITHOUT_A_CELL),
        ("one", (), (), "a", False, f"the value is lost: {NOT_RELATED}. Run the cell that made it again."),
    ],
)
def test_a_fetch_goes_on_with_a_state_that_continues(
    second: Container,
    generation: str | None,
    history: tuple[RunTrace, ...],
    received: tuple[int, ...],
    owner: str,
    continues: bool,
    error: str,
) -> None:
    if error:
        with pytest.raises(MachineError) as raised:
            second.continuation.continue_for_fetch(generation, history, received, owner)
        assert str(raised.value) == error
    else:
        assert second.continuation.continue_for_fetch(generation, history, received, owner) is continues
    assert second.continuation.generation == ("one" if continues else "two")
    assert (second.saved.state is not None) is continues


def test_the_next_cell_after_such_a_fetch_says_that_the_container_is_another_one(second: Container) -> None:
    second.continuation.continue_for_fetch("one", KNOWN, (), "a")
    second.saved.restore(("x",))
    assert second.saved.state is None, "its values are loaded"
    assert second.need("one") == Need("one", "restored", restored=("x", "y"))
    assert second.need("one") is None


@pytest.mark.parametrize(
    "restores_any, has_run, states, names",
    [(True, False, STATES, ("x", "y")), (True, True, {}, ()), (False, False, {}, ())],
)
def test_a_namespace_of_which_the_notebook_knows_nothing(
    second: Container, restores_any: bool, has_run: bool, states: dict[str, Any], names: tuple[str, ...]
) -> None:
    if has_run:
        second.saved.ran("2")
    assert second.continuation.begin(restores_any=restores_any) == states
    second.saved.begin()
    assert (tuple(sorted(second.sync.names)), second.continuation.generation) == (names, "two")


@pytest.mark.parametrize("begins", [lambda each: each.begin(restores_any=True), Continuation.empty])
def test_a_namespace_that_begins_shares_no_object(tmp_path: Path, begins: Callable[[Continuation], Any]) -> None:
    container = Container("one", tmp_path)
    container.run("1", "x = [1]")
    assert container.shared("x")
    begins(container.continuation)
    assert not len(container.sync.table)


def test_a_new_namespace_gives_up_the_saved_state_that_the_container_was_to_restore(second: Container) -> None:
    second.need("one", history=KNOWN)
    second.continuation.begin(restores_any=False)
    second.saved.begin()
    assert second.sync.names == ()


def test_an_emptied_namespace_has_no_name_of_the_user_s_and_restores_none(tmp_path: Path) -> None:
    first = Container("one", tmp_path)
    first.run("1", "small, large = 1, bytearray(2_000_000)")
    first.saved.save_now()
    second = Container("two", tmp_path)
    second.continuation.begin(restores_any=True)
    second.saved.begin()
    second.namespace["own"] = 1
    assert (set(second.sync.names), set(second.sync.unloaded.waiting)) == ({"small", "large", "own"}, {"large"})
    second.continuation.empty()
    assert second.namespace.keys() == new_namespace().keys()
    assert second.sync.names == ()


@pytest.mark.parametrize("is_mounted, words", [(True, "restores the files that were saved"), (False, "are lost")])
def test_files_of_another_generation_are_not_this_container_s(tmp_path: Path, is_mounted: bool, words: str) -> None:
    container = Container("two", tmp_path if is_mounted else None)
    container.continuation.check_files("two")
    with pytest.raises(CopyError, match=words):
        container.continuation.check_files("one")
