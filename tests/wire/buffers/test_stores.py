"""The stores: content by key, copies of one's own, room made for new buffers, two processes at once."""

from __future__ import annotations

import mmap
import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xxhash

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import MAPPINGS, InlineStore, SharedStore, Store
from modal_gpu_magic.wire.transfer import pack, unpack

if TYPE_CHECKING:
    from pathlib import Path

KB = 1024


def view(byte: int, nbytes: int = 100 * KB) -> memoryview:
    return memoryview(bytes([byte]) * nbytes)


@pytest.fixture(params=["shared", "inline"])
def store(request: Any, tmp_path: Path) -> Store:
    return SharedStore(tmp_path / "store") if request.param == "shared" else InlineStore()


class TestBoth:
    def test_a_key_is_the_content(self, store: Store) -> None:
        key = store.put(view(1))
        assert key == xxhash.xxh3_128_hexdigest(view(1)) == store.put(view(1)) == store.put(view(1), key)
        assert store.has(key)
        assert bytes(store.get(key)) == view(1)
        assert not store.has("0" * 32)

    def test_each_gets_one_of_its_own_that_can_be_written_to(self, store: Store) -> None:
        key = store.put(view(1))
        one, other = store.get(key), store.get(key)
        one[0] = 9
        assert other[0] == 1
        assert store.get(key)[0] == 1

    def test_one_that_is_not_there(self, store: Store) -> None:
        with pytest.raises(TransferError, match="buffer 00000000… of this transfer is missing"):
            store.get("0" * 32)

    def test_what_was_written_to_is_not_known(self, store: Store) -> None:
        mapped = store.get(store.put(view(1, 2_000_000)))
        mapped[5] = 9
        assert store.unwritten(memoryview(mapped)) is None

    def test_larger_than_a_chunk(self, store: Store) -> None:
        content = np.random.default_rng(0).bytes(9_000_001)
        assert bytes(store.get(store.put(memoryview(content)))) == content


class TestShared:
    def test_files_are_this_users_only(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path / "a" / "b")
        key = store.put(view(1))
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
        assert stat.S_IMODE((store.directory / key).stat().st_mode) == 0o600
        assert store.inline == {}
        assert [file.name for file in store.directory.iterdir()] == [key]

    def test_the_longest_unused_make_room(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path, limit_bytes=350 * KB)
        keys = [aged(store, store.put(view(number)), 100 - number) for number in range(3)]
        store.has(keys[0])  # used now
        store.put(view(9))
        assert present(store, keys) == [True, False, True]

    def test_what_was_taken_or_put_again_was_used(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path, limit_bytes=350 * KB)
        keys = [aged(store, store.put(view(number)), 100 - number) for number in range(3)]
        store.get(keys[0])
        store.put(view(1))
        store.put(view(9))
        assert present(store, keys) == [True, True, False]
        assert used(tmp_path) <= 350 * KB

    def test_what_a_transfer_needs_stays(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path, limit_bytes=250 * KB)
        old = aged(store, store.put(view(0)), 100)
        values = {f"v{number}": bytes(view(number)) for number in range(1, 6)}
        transfer = pack(values, {}, store)
        assert not store.has(old)
        assert unpack(transfer, {}, store).values == values
        store.put(view(9))
        assert used(tmp_path) <= 250 * KB

    def test_who_has_mapped_it_keeps_it(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path, limit_bytes=150 * KB)
        mapped = store.get(aged(store, store.put(view(1)), 100))
        store.put(view(2))
        assert len(list(tmp_path.iterdir())) == 1
        assert bytes(mapped) == view(1)

    def test_what_another_process_wrote_counts(self, tmp_path: Path) -> None:
        one, other = SharedStore(tmp_path, limit_bytes=1000 * KB), SharedStore(tmp_path, limit_bytes=1000 * KB)
        for number in range(40):
            (one if number % 2 else other).put(view(number))
            assert used(tmp_path) <= 1100 * KB

    def test_what_a_dead_process_left_unfinished_goes_first(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path, limit_bytes=250 * KB)
        dead, alive = tmp_path / ".1-dead", tmp_path / ".2-alive"
        for part, age in ((dead, 1000), (alive, 5)):
            part.write_bytes(view(0))
            os.utime(part, (time.time() - age,) * 2)
        store.put(view(1))
        assert not dead.exists()
        store.put(view(2))
        store.put(view(3))
        assert alive.exists()

    def test_a_write_that_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path)
        with pytest.raises(BufferError):
            store.put(memoryview(bytes(1000))[::2])  # in pieces, so it cannot be written
        assert list(tmp_path.iterdir()) == []

    def test_half_of_the_file_system_is_the_limit(self, tmp_path: Path) -> None:
        facts = os.statvfs(tmp_path)
        assert SharedStore(tmp_path).limit_bytes == facts.f_blocks * facts.f_frsize // 2

    def test_two_processes_at_once(self, tmp_path: Path) -> None:
        """Both put the same and other buffers into a store too small for them, and read what they have just put."""
        running = [subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path), str(seed)]) for seed in range(2)]
        assert [process.wait(timeout=110) for process in running] == [0, 0]
        for file in tmp_path.iterdir():
            assert xxhash.xxh3_128_hexdigest(file.read_bytes()) == file.name

    def test_a_directory_that_is_removed_does_not_stay_because_a_container_writes(self, tmp_path: Path) -> None:
        for number in range(3):
            store = SharedStore(tmp_path / f"store{number}")
            with subprocess.Popen([sys.executable, "-c", WRITER, str(store.directory)]) as writer:
                try:
                    while sum(1 for _ in store.directory.iterdir()) < 1000:
                        assert writer.poll() is None
                    store.remove()
                    assert writer.wait(timeout=110) == 0
                finally:
                    writer.kill()
            assert list(tmp_path.iterdir()) == []


WRITER = """
import contextlib, itertools, sys
from modal_gpu_magic.errors import NoRoomError
from modal_gpu_magic.wire.buffers.stores import SharedStore
store = SharedStore(sys.argv[1], limit_bytes=1_000_000_000)
for number in itertools.count():
    with contextlib.suppress(NoRoomError):
        store.put(memoryview(number.to_bytes(4, "big")))
    if not store.directory.exists():
        sys.exit(0)
"""

BUSY = """
import sys
from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.stores import SharedStore
store = SharedStore(sys.argv[1], limit_bytes=1_000_000)
for number in range(300):
    byte = (number * (1 + int(sys.argv[2]))) % 50
    content = bytes([byte]) * 100_000
    key = store.put(memoryview(content))
    try:
        assert bytes(store.get(key)) == content
    except TransferError:  # the other has made room in between
        continue
"""


class TestMarks:
    """A container notes in the store that a run has begun; the note is no buffer, and goes with the buffers."""

    def test_the_other_side_sees_a_mark(self, tmp_path: Path) -> None:
        kernel, container = SharedStore(tmp_path), SharedStore(tmp_path)
        assert not kernel.is_marked("1-2")
        assert container.mark("1-2")
        assert (kernel.is_marked("1-2"), kernel.is_marked("1-3")) == (True, False)
        kernel.clear()
        assert not kernel.is_marked("1-2")

    def test_a_mark_outlives_a_need_of_room(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path, limit_bytes=250 * KB)
        store.mark("1-2")
        for byte in range(5):
            store.put(view(byte))
        assert store.is_marked("1-2")

    def test_a_store_that_cannot_be_written_has_no_mark(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path / "store")
        store.remove()
        assert not store.mark("1-2")


class TestUnwritten:
    """A mapping nobody wrote to is known by the page table."""

    def test_known_until_it_is_written_to(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path)
        key = store.put(memoryview(np.random.default_rng(0).bytes(3_000_001)))
        mapped: Any = np.frombuffer(store.get(key), np.uint8)
        mapped.sum()
        assert store.unwritten(memoryview(mapped)) == bytes.fromhex(key)
        assert store.unwritten(memoryview(mapped)[:-1]) is None
        mapped[2_000_000] += 1
        assert store.unwritten(memoryview(mapped)) is None

    def test_written_with_what_it_had(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path)
        mapped: Any = np.frombuffer(store.get(store.put(view(1, 2_000_000))), np.uint8)
        mapped[-1] = mapped[-1]
        assert store.unwritten(memoryview(mapped)) is None

    def test_other_memory_is_not_known(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path)
        key = store.put(view(1, 2_000_000))
        assert store.unwritten(memoryview(bytearray(2_000_000))) is None
        store.get(key)  # and gone again
        again = mmap.mmap(-1, 2_000_000)
        assert store.unwritten(memoryview(again)) is None

    def test_a_hasher_asks_before_it_reads(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path)
        key = store.put(view(1, 5_000_000))
        mapped: Any = np.frombuffer(store.get(key), np.uint8)
        broke = Hasher(seconds=0, unwritten=store.unwritten)  # has no time to read anything
        assert broke.digest(memoryview(mapped)) == bytes.fromhex(key)

    def test_many_come_and_go(self, tmp_path: Path) -> None:
        store = SharedStore(tmp_path)
        key = store.put(view(1))
        most = 2 * len(MAPPINGS._alive) + 500  # other tests' mappings may still be there
        for _ in range(1_000 + most):
            kept = store.get(key)
        assert SharedStore(tmp_path).unwritten(memoryview(kept)) == bytes.fromhex(key)
        assert len(MAPPINGS._digests) < most


def aged(store: SharedStore, key: str, seconds: float) -> str:
    """Make a file one that was last used so long ago."""
    when = time.time() - seconds
    os.utime(store.directory / key, (when, when))
    return key


def present(store: SharedStore, keys: list[str]) -> list[bool]:
    return [(store.directory / key).exists() for key in keys]


def used(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())
