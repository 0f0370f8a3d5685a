"""What holds a GPU's clocks down: NVML's bits (its reference, `NvmlClocksEventReasons`) as words. Pure."""

from __future__ import annotations

from typing import Final

HW_SLOWDOWN: Final = 0x8
SLOWDOWNS: Final = {
    0x20: "SW thermal slowdown",
    0x40: "HW thermal slowdown",
    0x80: "HW power brake",
    HW_SLOWDOWN: "HW slowdown",
}
"""Bits that mean a GPU is slower than it should be.

Not among them: idle (0x1), clocks that somebody set (0x2, 0x100), sync boost (0x10), and the power cap (0x4), at which
a busy data-centre GPU runs as it is meant to.
"""


def slowdowns(bits: int) -> tuple[str, ...]:
    """The words of what slows a GPU down; `HW slowdown`, which NVML sets beside its cause, only where it is alone."""
    found = tuple(words for bit, words in SLOWDOWNS.items() if bits & bit)
    causes = tuple(words for words in found if words != SLOWDOWNS[HW_SLOWDOWN])
    return causes or found
