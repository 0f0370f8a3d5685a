"""States of the global random generators: Python's, numpy's and torch's."""

from __future__ import annotations

import ctypes
import random
import sys
from array import array
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.process.process_state import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from modal_gpu_magic.wire.process.process_state import Items

_MERSENNE = "MT19937"
_STATE_BYTES = 4 * 624 + 4
"""Of a Mersenne Twister in memory: its words and its position."""
_SEED = "cuda seed"
"""Key of the seed that waits, where CUDA has not begun, for CUDA's generators."""


def _random_read(_: Collection[str]) -> Items:
    version, words, gauss = random.getstate()
    return {"": (version, array("I", words).tobytes(), gauss)}


def _random_write(_: str, value: Any) -> None:
    version, words, gauss = value
    random.setstate((version, tuple(array("I", words)), gauss))


class _Numpy:
    """The generator of `numpy.random.rand` and the like, if it is of numpy's own kind."""

    def __init__(self) -> None:
        self._memory = b""
        self._last: Items = {}

    def read(self, _: Collection[str]) -> Items:
        """Numpy takes 0.15 ms to say its state, so it is asked only after the generator's memory has changed.

        A number that is kept for the next `randn` is not in that memory: with one, numpy is always asked.
        """
        numpy = sys.modules["numpy.random"]
        memory = self._look(numpy)
        kept = self._last[""][2] if self._last else 1
        if memory and memory == self._memory and not kept:
            return self._last
        self._memory, self._last = memory, self._ask(numpy)
        return self._last

    @staticmethod
    def _look(numpy: Any) -> bytes:
        """The words and the position of the generator; nothing for other kinds, and before numpy 1.24."""
        generator: Any = numpy.get_bit_generator() if hasattr(numpy, "get_bit_generator") else None
        if type(generator).__name__ != _MERSENNE:
            return b""
        return ctypes.string_at(generator.ctypes.state_address, _STATE_BYTES)

    @staticmethod
    def _ask(numpy: Any) -> Items:
        state: Any = numpy.get_state(legacy=False)
        if state["bit_generator"] != _MERSENNE:
            return {}
        inner = state["state"]
        return {"": (inner["key"].tobytes(), int(inner["pos"]), int(state["has_gauss"]), float(state["gauss"]))}


def _numpy_write(_: str, value: Any) -> None:
    key, position, has_gauss, gauss = value
    words = sys.modules["numpy"].frombuffer(key, dtype="uint32")
    sys.modules["numpy.random"].set_state((_MERSENNE, words, position, has_gauss, gauss))


class _Torch:
    """The CPU's generator, and those of GPUs that are in use. A GPU that is not here keeps what the other side says.

    `torch.manual_seed` where CUDA has not begun leaves the seed for CUDA's generators in a queue. The queue has no
    public reader: torch.cuda._lazy_seed_tracker, tested with torch 2.13. Without it a seed does not reach the GPUs.
    """

    def __init__(self) -> None:
        self._seen: Any = None
        self._count = 0
        self._elsewhere: Items = {}

    def read(self, _: Collection[str]) -> Items:
        torch = sys.modules["torch"]
        items = {"cpu": torch.get_rng_state().numpy().tobytes()}
        cuda = torch.cuda
        if cuda.is_initialized():
            for number in range(cuda.device_count()):
                items[f"cuda:{number}"] = cuda.get_rng_state(number).numpy().tobytes()
            return items
        queued = getattr(getattr(cuda, "_lazy_seed_tracker", None), "manual_seed_all_cb", None)
        if queued is not self._seen:
            self._seen, self._count = queued, self._count + 1
            self._elsewhere.clear()
        items.update(self._elsewhere)
        if queued is not None:
            items[_SEED] = (torch.initial_seed(), self._count)
        return items

    def write(self, key: str, value: Any) -> None:
        torch = sys.modules["torch"]
        if key == _SEED:
            torch.cuda.manual_seed_all(value[0])
            return
        state = torch.frombuffer(bytearray(value), dtype=torch.uint8)
        number = int(key.partition(":")[2] or 0)
        if key == "cpu":
            torch.set_rng_state(state)
        elif torch.cuda.is_available() and number < torch.cuda.device_count():
            torch.cuda.init()  # else a seed that waits for CUDA comes after this state
            torch.cuda.set_rng_state(state, number)
        else:
            self._elsewhere[key] = value


_TORCH = _Torch()

GENERATORS = (
    State("random", _random_read, _random_write, "random", borrowed=True),
    State("numpy.random", _Numpy().read, _numpy_write, "numpy.random"),
    State("torch.random", _TORCH.read, _TORCH.write, "torch"),
)
