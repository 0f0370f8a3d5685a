"""A gigabyte across and back with nothing but `wire`: what a cell's transfer costs without the SDK and the shell.

`python -m tests.benchmarks.bench_transfer`. The yardstick is one plain write of a gigabyte to a fresh file in shared
memory. `transfers.py` measures the same in a kernel, all included.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from tests.benchmarks.table import HEAD, Row, ratio, seconds
from tests.wire.far_side import FarSide, new_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIGABYTE = 10**9
PLAIN = "plain write"
MEMORY = Path("/dev/shm")

READY = """
import numpy as np, torch
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
store = SharedStore({directory!r})
None
"""

PRINT = """
mark = fingerprint(value, globals(), Hasher(unwritten=store.unwritten))
None
"""


def plain_write(directory: Path) -> float:
    """Seconds for one write of a gigabyte from memory to a fresh file."""
    content, path = memoryview(np.ones(GIGABYTE // 8).data).cast("B"), directory / "plain"
    began = time.perf_counter()
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    while content.nbytes:
        content = content[os.write(fd, content) :]
    took = time.perf_counter() - began
    os.close(fd)
    path.unlink()
    return took


def timed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak(*, reset: bool = False) -> int:
    """The most memory this process has had at once, bytes; since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(rows["VmHWM"].split()[0]) * 1024


def there_and_back(what: str, value: Any, made: str) -> Iterator[Row]:
    """One value across, again, and another one back."""
    near = {**new_namespace(), "value": value}
    with tempfile.TemporaryDirectory(dir=MEMORY) as name, FarSide(near, Path(name) / "store") as far:
        directory = Path(name)
        far.run(READY.format(directory=str(directory / "store")))
        near["store"] = SharedStore(directory / "store")
        yard = min(plain_write(directory) for _ in range(3))

        def across() -> None:
            hasher = Hasher()
            fingerprint(value, near, hasher)
            far.send("value", hasher=hasher)
            far.run(PRINT)

        def again() -> None:
            fingerprint(value, near)
            far.run(PRINT)

        def back() -> None:
            hasher = Hasher()
            arrived = far.bring("made", hasher=hasher)
            fingerprint(arrived.values["made"], near, hasher)

        before = peak(reset=True)
        yield ratio(f"{what} there", timed(across), (PLAIN, yard), 2.0, 1.2)
        yield seconds("the same again, unchanged", timed(again), 0.2, 0.1)
        far.run(f"made = {made}\nNone")
        yield ratio(f"{what} back", timed(back), (PLAIN, yard), 3.0, 1.5)
        over = (peak() - before) / 1e6
        yield Row("memory beyond the value", f"{over:.0f} MB", "–", over, " MB", 300, 100)


def numpy_gigabyte() -> Iterator[Row]:
    """One array."""
    value = np.random.default_rng(0).random(GIGABYTE // 8)
    yield from there_and_back("1 GB numpy", value, "np.random.default_rng(1).random(125_000_000)")


def torch_gigabyte() -> Iterator[Row]:
    """A state dict of 25 tensors."""
    value = {f"layer{number}": torch.randn(GIGABYTE // 100) for number in range(25)}
    made = "{f'layer{number}': torch.randn(10_000_000) for number in range(25)}"
    yield from there_and_back("1 GB torch state dict", value, made)


if __name__ == "__main__":
    print(HEAD)
    for measure in (numpy_gigabyte, torch_gigabyte):
        for row in measure():
            print(row, flush=True)
