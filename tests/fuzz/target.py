"""What a fuzzer is: it runs one case of a random generator, and says which fault the case shows."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias, TypeVar

Case: TypeAlias = "Callable[[random.Random], str | None]"
"""Runs one case; returns the fault with what reproduces it, or None."""

Target: TypeAlias = "Callable[[], AbstractContextManager[Case]]"
"""Opens what the cases need, and closes it."""

ALLOCATED_BYTES = 64 << 20
"""Most memory that one case may take: the inputs have some kilobytes."""

Item = TypeVar("Item")


@contextmanager
def ready(case: Case) -> Iterator[Case]:
    """A target that needs nothing."""
    yield case


def fault_of(
    act: Callable[[], object], allowed: type[Exception] | tuple[type[Exception], ...] = (), *, measured: bool = False
) -> str | None:
    """What is wrong with an act: an error that is not allowed, or too much memory. None: nothing."""
    if measured:
        tracemalloc.start()
    try:
        act()
    except allowed:
        pass
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any other error is a fault
        return f"{type(error).__name__}: {error}"
    finally:
        peak = tracemalloc.get_traced_memory()[1] if measured else 0
        tracemalloc.stop()
    return f"{peak >> 20} MiB of memory" if peak > ALLOCATED_BYTES else None


def mutated(blob: bytes, numbers: random.Random) -> bytes:
    """Bytes that are not the same: a bit, a cut, more, another order, other lengths, nothing, or noise."""
    while (changed := numbers.choice(_MUTATIONS)(blob, numbers)) == blob:
        pass
    return changed


def _flipped(blob: bytes, numbers: random.Random) -> bytes:
    changed = bytearray(blob)
    for _ in range(numbers.choice((1, 1, 2, 8))):
        if changed:
            changed[numbers.randrange(len(changed))] ^= 1 << numbers.randrange(8)
    return bytes(changed)


def _spliced(blob: bytes, numbers: random.Random) -> bytes:
    first, second = sorted(numbers.randrange(len(blob) + 1) for _ in range(2))
    return numbers.choice((blob[:first] + blob[second:], blob[second:] + blob[:first], blob + blob[first:second]))


def _overwritten(blob: bytes, numbers: random.Random) -> bytes:
    at, size = numbers.randrange(len(blob) + 1), numbers.choice((1, 2, 4, 8))
    value = numbers.choice((0, 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1, numbers.randrange(2 ** (8 * size))))
    return blob[:at] + value.to_bytes(size, numbers.choice(("little", "big"))) + blob[at + size :]


_MUTATIONS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _flipped,
    _spliced,
    _overwritten,
    lambda blob, numbers: blob[: numbers.randrange(len(blob) + 1)],
    lambda blob, numbers: blob + numbers.randbytes(numbers.randrange(1, 40)),
    lambda _, numbers: numbers.randbytes(numbers.randrange(60)),
)


def rearranged(text: str, pieces: Sequence[str], numbers: random.Random) -> str:
    """A text with some of its characters removed, doubled, or replaced by pieces of others."""
    for _ in range(numbers.randrange(6)):
        first, second = sorted(numbers.randrange(len(text) + 1) for _ in range(2))
        cut = text[first:second]
        text = text[:first] + numbers.choice(("", cut + cut, numbers.choice(pieces), cut[::-1])) + text[second:]
    return text[:2000]
