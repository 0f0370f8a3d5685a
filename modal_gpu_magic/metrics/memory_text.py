"""The memory of GPUs as text. nvidia-smi's MiB are shown as GiB; only the nominal sizes of vendors are GB. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

GIB: Final = 1024
"""MiB in one GiB."""
_SMALLEST_GIB: Final = 0.05
"""GiB below which an amount is shown in MiB, because one decimal would be 0.0."""
_TENTHS_BELOW: Final = 10
"""GiB below which an amount shows tenths. The dashboard's page has the same rule."""


def memory_text(mib: float) -> str:
    """`9.8 GiB`, `80 GiB`, `30 MiB`."""
    return " ".join(_parts(mib))


def memory_span(values: Iterable[float | None]) -> str | None:
    """`9.8 GiB`, `0.4 to 9.8 GiB`, `30 MiB to 9.8 GiB`: least and most of the known values; None: none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    (least, unit), (most, unit_of_most) = _parts(min(known)), _parts(max(known))
    if (least, unit) == (most, unit_of_most):
        return f"{most} {unit_of_most}"
    return f"{least} to {most} {unit}" if unit == unit_of_most else f"{least} {unit} to {most} {unit_of_most}"


def memory_of(used: Iterable[float | None], total: Iterable[float | None]) -> str | None:
    """`9.8 of 80 GiB`, `30 MiB of 80 GiB`, `9.8 GiB` if the total is not known; None: the use is not known."""
    amount, whole = memory_span(used), memory_span(total)
    if amount is None or whole is None:
        return amount
    units = {word for word in f"{amount} {whole}".split() if word in ("MiB", "GiB")}
    return f"{amount.removesuffix(f' {units.pop()}') if len(units) == 1 else amount} of {whole}"


def _parts(mib: float) -> tuple[str, str]:
    gib = mib / GIB
    if gib < _SMALLEST_GIB:
        return ("<1" if 0 < mib < 0.5 else f"{mib:.0f}"), "MiB"  # noqa: PLR2004 - would round to 0
    return (f"{gib:.1f}" if round(gib, 1) < _TENTHS_BELOW else f"{gib:.0f}"), "GiB"
