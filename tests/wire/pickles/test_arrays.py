"""Numpy arrays and pandas frames across: every dtype and order, out of band, writable, fingerprints that hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.messages.events import Transfer
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, look
from modal_gpu_magic.wire.transfer import pack, unpack

LARGE = 20_000

VIEWS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda a: a,
    "every other": lambda a: a[::2],
    "backwards": lambda a: a[::-1],
    "transposed": lambda a: a.T,
    "column": lambda a: a[..., 0] if a.ndim > 1 else a,
    "Fortran": np.asfortranarray,
    "permuted": lambda a: np.moveaxis(a, 0, -1),
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "empty": lambda a: a[:0],
}


def across(value: Any, store: Any = None) -> Any:
    store = store or InlineStore()
    return taken(pack({"v": value}, {}, store), store)["v"]


def taken(transfer: Transfer, store: Any) -> dict[str, Any]:
    """What a transfer brings."""
    arrived = unpack(transfer, {}, store)
    assert arrived.failed == {}
    return arrived.values  # noqa: PD011 - not pandas'


def same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(
    npst.arrays(
        npst.scalar_dtypes() | npst.structured_dtypes() if hasattr(npst, "structured_dtypes") else npst.scalar_dtypes(),
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0),
    ),
    st.sampled_from(["whole", "every other", "backwards", "transposed", "Fortran"]),
)
def test_every_dtype_and_order(array: Any, view: str) -> None:
    viewed = VIEWS[view](array) if array.ndim else array
    arrived = across(viewed)
    same(arrived, viewed)
    assert fingerprint(viewed, {}) == fingerprint(viewed, {}) is not None


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "dtype", ["f8", "i2", "c16", "?", "U7", "S3", "M8[ns]", "m8[s]", "f2", ">f4", [("a", "i4"), ("b", "f8", 3)]]
)
def test_large_ones_go_out_of_band_and_come_back_writable(view: str, dtype: Any, tmp_path: Any) -> None:
    array = VIEWS[view](np.arange(LARGE * 4, dtype="i2").astype(dtype).reshape(4, -1, 2))
    store = SharedStore(tmp_path)
    transfer = pack({"v": array}, {}, store)
    if array.nbytes > 65_536:
        assert len(transfer.buffers) == 1
        assert len(transfer.stream) < 1_000
    arrived = taken(transfer, store)["v"]
    same(arrived, array)
    assert arrived.flags.writeable == array.flags.writeable == (view != "broadcast")
    if view != "broadcast":
        arrived[...] = arrived
    assert fingerprint(arrived, {}) == fingerprint(array, {})


def test_read_only_stays_read_only() -> None:
    for size in (10, LARGE):
        array = np.arange(size)
        array.flags.writeable = False
        assert not across(array).flags.writeable


@pytest.mark.parametrize("view", [name for name in VIEWS if name != "whole"])
@pytest.mark.parametrize("dtype", ["f8", "M8[s]", object])
def test_read_only_views_stay_read_only(view: str, dtype: Any) -> None:
    array = np.arange(24).astype(dtype).reshape(4, 3, 2)
    array.flags.writeable = False
    arrived = across(VIEWS[view](array))
    same(arrived, VIEWS[view](array))
    assert not arrived.flags.writeable or view == "Fortran"


OVERLAPPING: dict[str, Callable[[Any], Any]] = {
    "one element": lambda a: np.broadcast_to(a[:1], (10**10,)),
    "rows": lambda a: np.broadcast_to(a, (10**6, a.size)),
    "a column": lambda a: np.broadcast_to(a[:, None], (a.size, 10**6)),
    "windows": lambda a: np.lib.stride_tricks.sliding_window_view(a, 5_000),
    "windows, backwards": lambda a: np.lib.stride_tricks.sliding_window_view(a, 5_000)[::-1, ::-1],
    "of a list": lambda a: np.broadcast_to(np.array([[1]], dtype=object), (10**6, 3)),
}


@pytest.mark.parametrize("name", OVERLAPPING)
def test_what_lies_in_one_place_is_sent_once(name: str) -> None:
    base = np.arange(10_000.0)
    array = OVERLAPPING[name](base)
    store = InlineStore()
    transfer = pack({"v": array}, {}, store)
    assert transfer.nbytes < 2 * base.nbytes
    arrived = taken(transfer, store)["v"]
    assert (arrived.shape, arrived.dtype, arrived.flags.writeable) == (array.shape, array.dtype, False)
    if array.dtype != object:
        assert arrived.strides == array.strides or 0 in array.strides
    for place in (0, -1):
        assert np.array_equal(np.ravel(arrived[place][None, ...])[:50], np.ravel(array[place][None, ...])[:50])
    assert fingerprint(arrived, {}) == fingerprint(array, {})


def test_the_order_of_the_elements_is_kept() -> None:
    for size in (3, 300):
        arrived = across(np.asfortranarray(np.ones((size, size))))
        assert arrived.flags.f_contiguous
        assert not arrived.flags.c_contiguous


masked: Any = np.ma.masked_array
MASKED: dict[str, Callable[[], Any]] = {
    "no mask": lambda: masked(np.arange(LARGE)),
    "masked": lambda: masked(np.arange(LARGE), mask=np.arange(LARGE) % 2 == 0),
    "hard": lambda: masked([1, 2], mask=[0, 1], hard_mask=True, fill_value=9),
    "fields": lambda: masked([(1, 2.0)], mask=[(0, 1)], dtype=[("a", "i4"), ("b", "f8")]),
    "no dimension": lambda: masked(3, mask=True),
    "dates": lambda: masked(np.array(["2024-01-01", "NaT"], "M8[D]"), mask=[0, 1]),
    "objects": lambda: masked(np.array([1, None], object), mask=[0, 1]),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_arrays(name: str) -> None:
    array = MASKED[name]()
    arrived = across(array)
    assert type(arrived) is np.ma.MaskedArray
    assert (arrived.mask is np.ma.nomask) == (array.mask is np.ma.nomask)
    assert (arrived.hardmask, arrived.dtype, arrived.shape) == (array.hardmask, array.dtype, array.shape)
    assert repr(arrived) == repr(array)
    assert fingerprint(arrived, {}) == fingerprint(array, {}) is not None


def test_what_was_written_there_is_not_seen_here(tmp_path: Any) -> None:
    store, array = SharedStore(tmp_path), np.arange(LARGE)
    one, other = across(array, store), across(array, store)
    one[0] = 42
    assert array[0] == 0
    assert other[0] == 0
    assert across(array, store)[0] == 0


def test_two_equal_arrays_are_two() -> None:
    store = InlineStore()
    transfer = pack({"a": np.zeros(LARGE), "b": np.zeros(LARGE)}, {}, store)
    assert len(store.inline) == 1
    arrived = taken(transfer, store)
    arrived["a"][0] = 1
    assert arrived["b"][0] == 0


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", None, {"k": [1]}], dtype=object),
        np.ma.masked_array(np.arange(LARGE), mask=np.arange(LARGE) % 2 == 0),
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.float32(1.5),
        np.datetime64("2024-01-01"),
        np.random.default_rng(0),
        np.dtype("f4"),
    ],
    ids=lambda array: type(array).__name__,
)
def test_other_things_of_numpy(array: Any) -> None:
    arrived = across(array)
    assert type(arrived) is type(array)
    assert fingerprint(arrived, {}) is not None
    if isinstance(array, np.ndarray):
        assert (arrived == array).all()


def test_a_mapped_file_arrives_without_its_file(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "m", dtype="i8", mode="w+", shape=(LARGE,))
    mapped[:] = 7
    arrived = across(mapped)
    assert type(arrived) is np.memmap
    assert (arrived == 7).all()
    assert (arrived.filename, arrived.mode, arrived._mmap) == (mapped.filename, "w+", None)  # type: ignore[attr-defined]
    arrived.flush()


def test_a_masked_array_that_was_shown_is_the_same_value() -> None:
    array = masked([1, 2], mask=[0, 1])
    before = fingerprint(array, {})
    repr(array)
    array.fill_value  # noqa: B018 - sets it
    assert fingerprint(array, {}) == before
    array.fill_value = 7
    assert fingerprint(array, {}) != before


def test_single_objects_and_elements_of_masked_arrays() -> None:
    assert across(np.ma.masked) is np.ma.masked
    element = masked([(1, 2.0)], mask=[(0, 1)], dtype=[("a", "i4"), ("b", "f8")])[0]
    assert repr(across(element)) == repr(element)
    assert type(across(element)) is np.ma.mvoid


class Guarded(np.ndarray[Any, Any]):
    """Leaves a lock out of its pickles."""

    lock: Any
    tag: Any

    def __reduce__(self) -> Any:
        """Pickle as most classes do that keep attributes."""
        make, arguments, state = cast("tuple[Any, ...]", super().__reduce__())
        return make, arguments, (*state, self.tag)

    def __setstate__(self, state: Any) -> None:
        """Take the tag out of the state."""
        *numbers, self.tag = state
        super().__setstate__(tuple(numbers))


def test_a_class_that_leaves_a_lock_out_is_pickled_in_its_own_way() -> None:
    inner, outer = (np.arange(3).view(Guarded) for _ in range(2))
    inner.lock, inner.tag = threading.Lock(), [1]
    outer.tag, outer.lock = [inner], None
    arrived = across(outer)
    assert (type(arrived), arrived.tolist(), hasattr(arrived, "lock")) == (Guarded, [0, 1, 2], False)
    assert (arrived.tag[0].tolist(), arrived.tag[0].tag, hasattr(arrived.tag[0], "lock")) == ([0, 1, 2], [1], False)
    inner.lock = None
    assert vars(across(inner)) == {"lock": None, "tag": [1]}


def test_an_array_of_a_subclass_in_an_array_of_objects_is_not_the_memory_of_the_latter() -> None:
    """The digest of a large buffer says that its owner is unchanged."""
    held = np.empty(2, object)
    held[:] = [np.zeros(LARGE).view(np.recarray), 1]
    hasher = Hasher()
    look((held,), {}, hasher)
    assert id(held) not in hasher.leaves


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": np.arange(LARGE), "b": np.arange(LARGE) / 2, "c": ["x", "y"] * (LARGE // 2)}),
        pd.DataFrame(np.arange(LARGE * 2.0).reshape(-1, 50)).T,
        pd.DataFrame({"a": range(LARGE)}, index=pd.date_range("2024", periods=LARGE, freq="h")),
        pd.DataFrame({"a": pd.Categorical(["u", "v"] * LARGE)}),
        pd.DataFrame({"a": pd.array([1, None] * LARGE, dtype="Int64")}),
        pd.Series(np.arange(LARGE), name="s")[::2],
        pd.MultiIndex.from_product([range(100), ["a", "b"]]),
        pd.DataFrame({"a": range(LARGE), "b": range(LARGE)})[["a"]].iloc[::3],
    ],
    ids=range(8),
)
class TestPandas:
    def test_arrives_equal_and_writable(self, frame: Any, tmp_path: Any) -> None:
        store = SharedStore(tmp_path)
        arrived = across(frame, store)
        if isinstance(frame, pd.DataFrame):
            pd.testing.assert_frame_equal(arrived, frame)
            arrived.iloc[0, 0] = arrived.iloc[1, 0]
            arrived["new"] = 1
        else:
            assert arrived.equals(frame)

    def test_its_fingerprint_holds_through_use(self, frame: Any) -> None:
        arrived = across(frame)
        before = fingerprint(arrived, {})
        repr(arrived)
        len(arrived)
        if isinstance(arrived, pd.DataFrame):
            arrived.sum(numeric_only=True)
            arrived.index.is_unique  # noqa: B018 - fills a cache
            arrived.describe()
        assert fingerprint(arrived, {}) == before is not None


def test_the_columns_of_a_frame_go_out_of_band() -> None:
    store = InlineStore()
    numbers = np.arange(100_000)
    frame = pd.DataFrame({"a": numbers, "b": numbers / 2, "c": numbers.astype("i4"), "d": numbers.astype("M8[s]")})
    transfer = pack({"v": frame, "slice": frame.iloc[::2]}, {}, store)
    assert len(transfer.stream) < 5_000
