"""Translate NVML's clock event bits (`NvmlClocksEventReasons`) into words. Pure."""

from __future__ import annotations

from typing import Final

HW_SLOWDOWN: Final = 0x8
SLOWDOWNS: Final = {
    0x20: "SW thermal slowdown",
    0x40: "HW thermal slowdown",
    0x80: "HW power brake",
    HW_SLOWDOWN: "HW slowdown",
}
"""Bits of faults that slow a GPU down, with their words.

Not included: idle (0x1), user-defined clocks (0x2, 0x100), sync boost (0x10), and the power cap (0x4), at which a busy
data-centre GPU normally runs.
"""


def slowdowns(bits: int) -> tuple[str, ...]:
    """Return the words of the set bits; `HW slowdown` only if NVML has set no cause with it."""
    found = tuple(words for bit, words in SLOWDOWNS.items() if bits & bit)
    causes = tuple(words for words in found if words != SLOWDOWNS[HW_SLOWDOWN])
    return causes or found
