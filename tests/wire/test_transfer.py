"""Packing and unpacking in one process: values, what they share, objects written into in place."""

from __future__ import annotations

import collections
import functools
import io
import pickle
import string
import textwrap
import threading
import wave
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.inspection.marks import Marks
from modal_gpu_magic.wire.messages.events import Transfer
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.pickles.loading import UnknownObjectsError
from modal_gpu_magic.wire.transfer import pack, prepare, unpack
from modal_gpu_magic.wire.values.remote import RemoteValue
from tests.wire.far_side import new_namespace

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
VALUES = st.recursive(
    ATOMS | st.binary(min_size=1, max_size=4).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
        | st.lists(inner, max_size=3).map(collections.deque)
        | st.dictionaries(st.text(), inner, max_size=3).map(collections.OrderedDict)
        | st.dictionaries(st.text(), inner, max_size=3).map(lambda items: collections.defaultdict(list, items))
        | st.tuples(inner, inner)
    ),
    max_leaves=15,
)


def across(values: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The values as they are after a transfer."""
    store = InlineStore()
    transfer = pack(values, new_namespace(), store)
    message: Transfer = pickle.loads(pickle.dumps(transfer))
    arrived = unpack(message, new_namespace(), InlineStore(message.inline), **options)
    assert arrived.failed == {}
    return arrived.values


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4))
def test_values_arrive_as_they_were(values: dict[str, Any]) -> None:
    arrived = across(values)
    assert arrived == values
    assert {name: type(value) for name, value in arrived.items()} == {
        name: type(value) for name, value in values.items()
    }


@settings(deadline=None)
@given(VALUES)
def test_a_fingerprint_is_the_same_as_long_as_the_value_is(value: Any) -> None:
    first = fingerprint(value, new_namespace())
    assert first is not None
    assert len(first) == 16
    assert fingerprint(value, new_namespace()) == first
    assert fingerprint([value, "more"], new_namespace()) != first


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.randoms(use_true_random=False))
def test_what_is_one_object_arrives_as_one(shape: list[int], random: Any) -> None:
    """A random graph of lists and dicts, cycles included, each also a name of its own."""
    nodes: list[Any] = [[] if kind % 2 else {} for kind in shape]
    for node in nodes:
        for _ in range(3):
            other = random.choice(nodes)
            if isinstance(node, list):
                node.append(other)
            else:
                node[len(node)] = other
    names = [f"n{number}" for number in range(len(nodes))]
    random.shuffle(names)
    arrived = across(dict(zip(names, nodes, strict=True)))
    numbers = {id(node): name for name, node in zip(names, nodes, strict=True)}
    there = {id(arrived[name]): name for name in names}
    assert len(there) == len(names)
    for name, node in zip(names, nodes, strict=True):
        items = node if isinstance(node, list) else node.values()
        far = arrived[name] if isinstance(node, list) else arrived[name].values()
        assert [numbers[id(item)] for item in items] == [there[id(item)] for item in far]


def test_two_names_of_one_object() -> None:
    shared = [1]
    arrived = across({"a": shared, "b": shared, "c": {"of": shared}, "d": (shared, 1)})
    assert arrived["a"] is arrived["b"] is arrived["c"]["of"] is arrived["d"][0]


@pytest.mark.parametrize("size", [0, 10, 70_000])
def test_large_bytes_go_out_of_band_and_stay_bytes(size: int) -> None:
    store = InlineStore()
    values = {"b": b"x" * size, "a": bytearray(b"y" * size)}
    transfer = pack(values, {}, store)
    assert len(transfer.buffers) == (1 if size > 65_536 else 0)
    arrived = unpack(transfer, {}, InlineStore(transfer.inline)).values
    assert arrived == values
    assert type(arrived["b"]) is bytes
    arrived["a"].append(1)


def test_a_large_stream_goes_where_the_buffers_go(tmp_path: Any) -> None:
    for here, there in ((SharedStore(tmp_path), SharedStore(tmp_path)), (store := InlineStore(), store)):
        apart = not here.in_message
        values = {"numbers": list(range(400_000)), "text": "ü" * 600_000}
        transfer = pack(values, {}, here)
        assert (transfer.stream == b"") is apart
        assert not apart or transfer.buffers[-1] == transfer.body
        assert transfer.nbytes > 1_000_000
        assert unpack(transfer, {}, there).values == values


class TwoSides:
    """Two namespaces, each with its table of the objects that both have."""

    def __init__(self) -> None:
        self.here: dict[str, Any] = {}
        self.there: dict[str, Any] = {}
        self._tables = {id(self.here): IdentityTable(0), id(self.there): IdentityTable(1)}

    def send(self, *names: str) -> Transfer:
        return self._cross(self.here, self.there, names)

    def bring(self, *names: str) -> Transfer:
        return self._cross(self.there, self.here, names)

    def _cross(self, sender: dict[str, Any], receiver: dict[str, Any], names: tuple[str, ...]) -> Transfer:
        store, hasher = InlineStore(), Hasher()
        mine, its = self._tables[id(sender)], self._tables[id(receiver)]
        marks = Marks(sender, mine)
        values = {name: sender[name] for name in names}
        groups = list(marks.look(values, hasher))
        packed = prepare(values, sender, store, hasher, table=mine)
        assert not unpack(packed.transfer, receiver, store, table=its, bind=True).failed
        packed.arrived(mine)
        for group in groups:
            marks.transferred(group)
        for group in (far := Marks(receiver, its)).look({name: receiver[name] for name in names}, Hasher()):
            far.transferred(group)
        for table, other in ((mine, its), (its, mine)):
            table.prune()
            other.forget(table.take_forgotten())
        return packed.transfer


class TestIdentity:
    """What arrives is written into the object that is there, and all that arrives refers to that."""

    def test_an_object_is_the_same_one_after_coming_home(self) -> None:
        sides = TwoSides()
        alias = sides.here["a"] = [1]
        sides.send("a")
        sides.there["a"].append(2)
        sides.there["b"] = {"inner": sides.there["a"]}
        sides.bring("b")
        assert alias == [1, 2]
        assert sides.here["b"]["inner"] is alias

    def test_names_sent_one_after_the_other_share_what_they_shared(self) -> None:
        sides = TwoSides()
        sides.here["a"] = [1]
        sides.here["d"] = {"k": sides.here["a"]}
        sides.send("a")
        sides.send("d")
        assert sides.there["d"]["k"] is sides.there["a"]

    def test_a_cycle(self) -> None:
        sides = TwoSides()
        a: list[Any] = [1]
        a.append({"back": a})
        sides.here["a"] = a
        sides.send("a")
        sides.there["a"][0] = 2
        sides.bring("a")
        assert sides.here["a"] is a
        assert a[1]["back"] is a
        assert a[0] == 2

    def test_a_constructor_sees_the_whole_content(self) -> None:
        sides = TwoSides()
        sides.here["a"] = [1]
        sides.send("a")
        sides.here["a"] += [2, 3]
        sides.here["counted"] = Counted(sides.here["a"])
        sides.send("counted", "a")
        assert sides.there["counted"].seen == 3

    def test_a_name_bound_anew_leaves_the_old_object_alone(self) -> None:
        sides = TwoSides()
        old = sides.here["a"] = [1]
        sides.send("a")
        sides.there["a"] = [2]
        sides.bring("a")
        assert old == [1]
        assert sides.here["a"] == [2]

    def test_what_is_unchanged_of_large_buffers_does_not_cross_again(self) -> None:
        sides = TwoSides()
        sides.here["big"] = np.zeros(100_000)
        sides.here["holder"] = [sides.here["big"], 0]
        assert sides.send("holder").inline
        sides.here["holder"][1] = 1
        assert not sides.send("holder").inline
        assert sides.there["holder"][1] == 1

    def test_an_object_that_is_gone_comes_anew(self) -> None:
        sides = TwoSides()
        sides.here["a"] = [[1]]
        sides.send("a")
        del sides.there["a"]
        sides.here["b"] = sides.here["a"]
        sides.send("b")
        assert sides.there["b"] == [[1]]

    def test_an_unknown_object_is_an_error_of_its_own(self) -> None:
        sides = TwoSides()
        sides.here["a"] = np.zeros(100_000)
        sides.send("a")
        hasher = Hasher()
        table = sides._tables[id(sides.here)]
        list(Marks(sides.here, table).look({"a": sides.here["a"]}, hasher))
        again = prepare({"a": sides.here["a"]}, sides.here, InlineStore(), hasher, table=table)
        with pytest.raises(UnknownObjectsError):
            unpack(again.transfer, {}, InlineStore(), table=IdentityTable(1))


class Counted:
    """Pickles as a call with a list, and looks at it when it is called."""

    def __init__(self, items: list[int]) -> None:
        self.items, self.seen = items, len(items)

    def __reduce__(self) -> Any:
        return Counted, (self.items,)


TEXT_FILE = io.TextIOWrapper(io.BufferedReader(io.FileIO(__file__)))


@pytest.mark.parametrize(
    "value, reason",
    [
        (threading.Lock(), "locks cannot be pickled"),
        ([threading.Lock()], "it holds a lock (_thread.lock) at `[0]`"),
        ((n for n in "a"), "running generators cannot be pickled"),
        (__import__("sys")._getframe(), "running functions' frames cannot be pickled"),
        (__import__("socket").socket.__new__(__import__("socket").socket), "sockets cannot be pickled"),
        (__import__("sqlite3").connect(":memory:"), "database connections cannot be pickled"),
        (threading.local(), "thread-local values cannot be pickled"),
        (__import__("weakref").ref(Counted), "weak references cannot be pickled"),
        (TEXT_FILE, "open files cannot be pickled"),
        ({"f": TEXT_FILE.buffer}, "it holds an open file ("),
        (memoryview(b"ab"), None),
        (len, None),
        (threading.Lock, None),
    ],
)
def test_why_a_value_does_not_travel(value: Any, reason: str | None) -> None:
    said = why_not(value, {})
    assert (said or "").startswith(reason or "")
    assert (said is None) == (reason is None)
    assert (fingerprint(value, {}) is None) == (reason is not None)


def test_a_class_that_refuses_in_its_own_words() -> None:
    class Proud:
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise ValueError("I do not travel\nsecond line")

    assert why_not(Proud(), {}) == "it cannot be pickled (ValueError: I do not travel)"


def test_nesting_too_deep_is_said() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert why_not(deep, {}) == "it is nested too deeply"


def test_pack_names_what_does_not_travel() -> None:
    with pytest.raises(TransferError, match=r"Cannot send `bad`: it holds a lock"):
        pack({"good": 1, "bad": [threading.Lock()]}, {}, InlineStore())


def test_unpack_without_its_buffers_is_an_error() -> None:
    transfer = pack({"b": b"x" * 70_000}, {}, InlineStore())
    with pytest.raises(TransferError, match="of this transfer is missing"):
        unpack(transfer, {}, InlineStore())


def test_a_hasher_shared_with_pack_gives_the_same_transfer(tmp_path: Any) -> None:
    values, hasher = {"b": b"x" * 3_000_000}, Hasher()
    fingerprint(values["b"], {}, hasher)
    assert pack(values, {}, SharedStore(tmp_path), hasher) == pack(values, {}, SharedStore(tmp_path))


class TestRemoteValues:
    def test_it_arrives_as_the_value_there(self) -> None:
        remote = RemoteValue("big", "default", "list", fetch=str)
        there = {**new_namespace(), "big": [1, 2, 3]}
        store = InlineStore()
        transfer = pack({"nested": {"x": remote}, "big": remote}, {}, store, session="default")
        arrived = unpack(transfer, there, store)
        assert arrived.values["nested"]["x"] is there["big"]

    def test_one_that_is_gone_fails_by_name(self) -> None:
        store = InlineStore()
        transfer = pack({"ok": 1, "nested": [RemoteValue("big", "default", "list", fetch=str)]}, {}, store)
        arrived = unpack(transfer, new_namespace(), store)
        assert arrived.values == {"ok": 1}
        assert "the container no longer has the value" in arrived.failed["nested"]

    def test_one_of_another_session_is_refused(self) -> None:
        with pytest.raises(
            TransferError,
            match=r"it holds a value of session 'other' at `\[0\]`: replace it by what its `fetch\(\)` returns",
        ):
            pack({"nested": [RemoteValue("big", "other", "list", fetch=str)]}, {}, InlineStore(), session="default")


def test_modules_that_are_referred_to_by_name_are_known() -> None:
    """Of functions, classes, instances and modules; and those that functions of the notebook import themselves."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def late():\n    import colorsys.deep\n    from . import near\n    return 1", namespace)
    values = {
        "function": textwrap.dedent,
        "instance": Fraction(1, 2),
        "nested": [{1: functools.partial(string.capwords)}],
        "module": wave,
        "late": namespace["late"],
        "plain": 1,
    }
    modules = pack(values, namespace, InlineStore()).modules
    assert {"textwrap", "fractions", "string", "wave", "colorsys.deep"} <= set(modules)
    assert pack({"x": 1, "y": "a"}, namespace, InlineStore()).modules == ()
