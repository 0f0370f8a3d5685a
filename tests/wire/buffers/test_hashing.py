"""The hasher: each buffer read once, never a wrong digest, and no longer than it was given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xxhash

from modal_gpu_magic.wire.buffers.hashing import Hasher, HashingFile, OutOfTime, address
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.transfer import pack, unpack

BYTES = 3_000_000


def zeros(count: int) -> Any:
    """An array of bytes."""
    return np.zeros(count, np.uint8)


def test_a_digest_is_xxh3_of_the_content() -> None:
    for size in (0, 1, 100_000, 70_000_000):
        content = bytes(size)
        assert Hasher().digest(memoryview(content)) == xxhash.xxh3_128_digest(content)


def test_a_buffer_is_read_once() -> None:
    array, hasher = zeros(BYTES), Hasher()
    first = hasher.digest(memoryview(array))
    array[0] = 1  # behind its back, to see that it does not look again
    assert hasher.digest(memoryview(array)) == hasher.known(memoryview(array)) == first
    assert hasher.digest(memoryview(array)[1:]) != first
    assert Hasher().digest(memoryview(array)) != first


def test_small_ones_are_read_again() -> None:
    array, hasher = zeros(1000), Hasher()
    first = hasher.digest(memoryview(array))
    array[0] = 1
    assert hasher.digest(memoryview(array)) != first


def test_an_address_never_comes_to_mean_something_else() -> None:
    """What is remembered is held; what is not held is not remembered."""
    hasher = Hasher()
    for number in range(20):
        array = zeros(BYTES) + number
        assert hasher.digest(memoryview(array), remember=number % 2 == 0) == xxhash.xxh3_128_digest(array)
        del array


def test_copies_made_to_be_hashed_are_not_held() -> None:
    strided, hasher = np.zeros((BYTES, 2), np.uint8)[:, 0], Hasher()
    assert fingerprint(strided, {}, hasher) is not None
    assert hasher._digests == {}
    assert fingerprint(np.zeros(BYTES, np.uint8), {}, hasher) is not None
    assert len(hasher._digests) == 1


def test_fingerprints_of_what_arrived_take_no_reading() -> None:
    store, values = InlineStore(), {"a": np.arange(BYTES)}
    learned = Hasher()
    arrived = unpack(pack(values, {}, store), {}, store, learned).values["a"]
    arrived[0] = 99  # behind its back, to see that it does not look
    assert fingerprint(arrived, {}, learned) == fingerprint(values["a"], {})
    assert fingerprint(arrived, {}) != fingerprint(values["a"], {})


class Clock:
    """A clock that goes on a second each time it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.mark.parametrize(
    "value",
    [np.zeros(200 << 20, np.uint8), list(range(300_000)), {"b": bytes(5_000_000)}],
    ids=["a buffer", "a stream", "bytes in a stream"],
)
def test_it_stops_when_the_time_is_up(value: Any) -> None:
    hasher = Hasher(seconds=2, clock=Clock())
    assert not hasher.spent
    assert fingerprint(value, {}, hasher) is None
    assert hasher.spent
    assert fingerprint(value, {}) is not None


def test_a_file_of_nothing_but_its_hash() -> None:
    file = HashingFile(Hasher())
    assert file.write(b"ab") == 2
    file.write(b"c")
    assert file.digest(b"d") == xxhash.xxh3_128_digest(b"abcd")
    with pytest.raises(OutOfTime):
        HashingFile(Hasher(seconds=0)).write(b"")


def test_addresses() -> None:
    array = zeros(10)
    assert address(memoryview(array)) == array.ctypes.data
    assert address(memoryview(array)[3:]) == array.ctypes.data + 3
    array.flags.writeable = False
    assert address(memoryview(array)) == array.ctypes.data
    assert address(memoryview(b"")) == 0
