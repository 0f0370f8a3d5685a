"""Modal's billing API: the workspace's rates, and what was billed.

Public: `modal.Workspace.billing`, tested with modal 1.6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.sdk.client import connect
from modal_gpu_magic.sdk.faults import translate
from modal_gpu_magic.sdk.held import APP_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS: Final = (APP_NAME, "modal-gpu-")
"""How the names of this package's Apps begin: those of a kernel, and of detached sessions by default."""


@dataclass(frozen=True, slots=True)
class Billed:
    """What one object was billed on one day.

    Attributes:
        day: the day, in UTC.
        name: name of the App.
        dollars: the cost, USD.
    """

    day: date
    name: str
    dollars: float

    @property
    def is_ours(self) -> bool:
        """Whether the object is an App of this package."""
        return self.name.startswith(OURS)


def report(start: float, end: float) -> tuple[Billed, ...]:
    """Return what the workspace was billed on the days of a time, seconds since the epoch.

    Raises:
        ModalGpuError: Modal cannot be reached, or refuses.
    """
    begin, last = (datetime.fromtimestamp(each, timezone.utc) for each in (start, end))
    try:
        rows = _billing().report(start=begin, end=last, resolution="d")
    except Exception as error:
        raise translate(error) from error
    return tuple(Billed(each.interval_start.date(), each.description, float(each.cost)) for each in rows)


def rates() -> Mapping[str, object]:
    """Return the workspace's rates by Modal's keys: USD per unit and hour.

    Raises:
        ModalGpuError: Modal cannot be reached, or refuses.
    """
    try:
        answer = _billing().rates()
        return {key: answer[key] for key in answer}
    except Exception as error:
        raise translate(error) from error


def _billing() -> Any:
    import modal

    return modal.Workspace.from_context(client=connect("cloud").client).billing
