"""Answers to `input()`: items of a partition of the queue, each with a key.

The kernel sends an answer again if the network failed, so that an answer may arrive twice; the key tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def stdin_partition(run: str) -> str:
    """Return the partition of the answers for a run."""
    return f"stdin-{run}"


def each_once(receive: Callable[[], Any]) -> Callable[[], str]:
    """Return a function that returns the next answer, without answers that have arrived before.

    Args:
        receive: waits for the next item of the partition: key and text.
    """
    seen: set[str] = set()

    def answer() -> str:
        while True:
            key, text = receive()
            if key not in seen:
                seen.add(key)
                return str(text)

    return answer
