"""The stores of the kernel that has the session: one a directory, or one a message."""

from __future__ import annotations

from pathlib import Path

from modal_gpu_magic.container.state.kernel_stores import KernelStores
from modal_gpu_magic.wire.messages.events import Transfer


def test_a_directory_has_one_store_until_it_is_removed(tmp_path: Path) -> None:
    stores, directory = KernelStores(), tmp_path / "one"
    first = stores.store(str(directory))
    key = first.put(memoryview(b"abc"))
    assert stores.store(str(directory), Transfer()) is first
    other = stores.store(str(tmp_path / "two"))
    assert not other.has(key)
    stores.remove()
    assert list(tmp_path.iterdir()) == []
    assert stores.store(str(directory)) is not first


def test_each_message_has_a_store_of_its_own() -> None:
    stores, arrived = KernelStores(), Transfer(inline={"key": b"abc"})
    received, sent = stores.store(None, arrived), stores.store(None)
    assert (received.has("key"), sent.has("key")) == (True, False)
    received.put(memoryview(b"more"))
    assert arrived.inline == {"key": b"abc"}
