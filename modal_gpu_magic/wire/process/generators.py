"""The states of the global random generators: Python's, numpy's and torch's."""

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
"""Size in memory of the words and the position of a Mersenne Twister."""
_SEED = "cuda seed"
"""Key of a seed for CUDA's generators that torch queues until CUDA is initialised."""


def _random_read(_: Collection[str]) -> Items:
    version, words, gauss = random.getstate()
    return {"": (version, array("I", words).tobytes(), gauss)}


def _random_write(_: str, value: Any) -> None:
    version, words, gauss = value
    random.setstate((version, tuple(array("I", words)), gauss))


class _Numpy:
    """The generator behind `numpy.random.rand` and similar functions, if it is a Mersenne Twister."""

    def __init__(self) -> None:
        self._memory = b""
        self._last: Items = {}

    def read(self, _: Collection[str]) -> Items:
        """Read the state only if the generator's memory has changed, because `get_state` takes 0.15 ms.

        A number that is cached for the next `randn` is not in that memory: with a cached number, always read.
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
        """Return words and position of the generator; empty for other generators, and before numpy 1.24."""
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
    """The generators of the CPU and of the GPUs in use. States of GPUs that this machine lacks are stored unchanged.

    Before CUDA is initialised, `torch.manual_seed` queues the seed for CUDA's generators. The queue has no public
    reader: torch.cuda._lazy_seed_tracker, tested with torch 2.13. If torch removes it, a seed does not reach the GPUs.
    """

    def __init__(self) -> None:
        self._seen: Any = None
        self._count = 0
        self._absent_gpus: Items = {}

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
            self._absent_gpus.clear()
        items.update(self._absent_gpus)
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
            torch.cuda.init()  # else a queued seed would overwrite this state
            torch.cuda.set_rng_state(state, number)
        else:
            self._absent_gpus[key] = value


_TORCH = _Torch()

GENERATORS = (
    State("random", _random_read, _random_write, "random", borrowed=True),
    State("numpy.random", _Numpy().read, _numpy_write, "numpy.random"),
    State("torch.random", _TORCH.read, _TORCH.write, "torch"),
)
