"""What the container's own values share with the notebook, and which objects are stale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.container.state.shared_objects import SharedObjects
from modal_gpu_magic.container.state.user_names import UserNames
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.marks import Marks
from modal_gpu_magic.wire.messages.events import RESULT, Shared
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from tests.session.two_memories import new_namespace


class Container:
    """A namespace whose lists `a` and `b` and whose array `m` the notebook has as well."""

    def __init__(self) -> None:
        memory = np.zeros(100)
        self.namespace = new_namespace()
        self.namespace.update(a=[1], b=[2], m=memory[:50], apart=memory[50:])
        self.names = UserNames(self.namespace, {})
        self.names.known.update("abm")
        self.table = IdentityTable(side=1)
        self.base = self.table.next_base()
        self.table.learn(self.base, {number: self.namespace[name] for number, name in enumerate("abm")})
        self.marks = Marks(self.namespace, self.table)
        self.objects = SharedObjects(self.names, self.marks)

    def run(self, source: str) -> None:
        """Run code in the namespace."""
        exec(source, self.namespace)

    def tokens(self, names: str) -> set[int]:
        """Return the tokens of objects by their names."""
        return {self.table.token(self.namespace[name]) for name in names}


@pytest.fixture
def container() -> Container:
    return Container()


@pytest.mark.parametrize(
    "value, contained",
    [
        ("[1]", ""),
        ("5", ""),
        ("a", "a"),
        ("[[a]]", "a"),
        ("(a, {'b': b})", "ab"),
        ("(lambda x=a: x)", "a"),
        ("type('C', (), {'__init__': lambda self: vars(self).update(a=a)})()", "a"),
        ("m[:10]", "m"),
        ("[m[40:].reshape(2, 5)]", "m"),
        ("__import__('numpy').zeros(100)", ""),
    ],
)
def test_the_objects_of_the_notebook_in_a_value(container: Container, value: str, contained: str) -> None:
    container.run(f"value = {value}")
    found = container.objects.tokens_in([container.namespace["value"]])
    assert found == container.tokens(contained)
    several = container.objects.tokens_by_name({"x": container.namespace["value"], "y": [container.namespace["b"]]})
    assert several == {"x": found, "y": container.tokens("b")}


@pytest.mark.parametrize("take", ["value = m[:10]", "value = [m[10:20], 5]"])
def test_memory_that_a_value_shares_counts_though_no_object_does(container: Container, take: str) -> None:
    """Of an array that was made anew over the same memory, the table knows nothing but the memory."""
    container.run("import numpy as np")
    container.namespace["m"] = np.frombuffer(memoryview(container.namespace["m"]), dtype=float)
    container.run(take)
    assert container.objects.tokens_in([container.namespace["value"]]) == {container.base + 2}


@pytest.mark.parametrize(
    "doubtful, candidates, known, stale",
    [
        ("", "", "ab", ""),
        ("a", "", "ab", "a"),
        ("ab", "", "ab", "ab"),
        ("ab", "a", "ab", "b"),
        ("ab", "a", "b", "ab"),
        ("ab", "ab", "ab", ""),
    ],
)
def test_what_was_compared_is_not_stale(
    container: Container, doubtful: str, candidates: str, known: str, stale: str
) -> None:
    container.names.known.clear()
    container.names.known.update(known)
    for group in container.marks.look({name: container.namespace[name] for name in "ab"}, Hasher()):
        container.marks.set(group)
    new = container.objects.note_stale(container.tokens(doubtful), candidates)
    assert new == tuple(sorted(container.tokens(stale)))
    values = container.objects.stale_objects().values()
    assert sorted(values) == [container.namespace[name] for name in stale]
    assert [name for name in "ab" if not container.marks.knows((name,))] == list(stale)


def test_an_object_is_stale_once_until_the_notebook_has_its_content(container: Container) -> None:
    a = container.tokens("a")
    assert container.objects.note_stale(a, ()) == tuple(a)
    assert container.objects.note_stale(a, ()) == ()
    container.objects.settle_stale(container.tokens("b"))
    assert set(container.objects.stale_objects()) == a
    container.objects.settle_stale(a)
    assert container.objects.stale_objects() == {}
    assert container.objects.note_stale(a, ()) == tuple(a)


def test_a_stale_object_is_held_although_no_name_has_it(container: Container) -> None:
    container.objects.note_stale(container.tokens("m"), ())
    del container.namespace["m"], container.namespace["apart"]
    assert [value.shape for value in container.objects.stale_objects().values()] == [(50,)]


def test_the_notebook_gets_only_the_news_of_what_values_share(container: Container) -> None:
    container.run("def f(): return a, apart\nown = [f]")
    first = Shared((1, 2), ("a",))
    assert container.objects.news_of_shares({"own": {2, 1}}) == {"own": first}
    assert container.objects.news_of_shares({"own": {1, 2}}) == {}
    assert container.objects.news_of_shares({"own": {1}}) == {"own": Shared((1,), ("a",))}
    container.names.known.discard("a")
    assert container.objects.news_of_shares({"own": {1}}) == {"own": Shared((1,), ())}
    assert container.objects.shares == {"own": Shared((1,), ())}


def test_a_deleted_name_and_a_result_are_not_remembered(container: Container) -> None:
    container.namespace["own"] = []
    news: dict[str, Any] = {"own": Shared((1,)), RESULT: Shared((2,))}
    for _ in range(2):
        assert container.objects.news_of_shares({"own": {1}, RESULT: {2}}) == news
        assert container.objects.shares.keys() == {"own"}
        del container.namespace["own"]
        container.objects.news_of_shares({})
        assert container.objects.shares == {}
        container.namespace["own"] = []


def test_the_next_container_goes_on_with_what_was_known(container: Container) -> None:
    container.namespace["own"] = []
    container.objects.resume({"own": Shared((1,))})
    container.objects.hold_stale({1: container.namespace["a"]})
    assert container.objects.news_of_shares({"own": {1}}) == {}
    assert container.objects.stale_objects() == {1: [1]}
    container.objects.clear()
    assert (container.objects.shares, container.objects.stale_objects()) == ({}, {})
