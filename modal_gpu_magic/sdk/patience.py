"""Try a request again while the network or the server fails, for as long as the user is patient."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from modal_gpu_magic.errors import GivenUp
from modal_gpu_magic.sdk.faults import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 600.0
"""Seconds without a connection after which a run is given up (`%config ModalGpu.patience`)."""
CANCELLED = (
    "The run is cancelled once the connection is back; the next cell says what the run had done. "
    "%config ModalGpu.patience sets how long to wait, in seconds."
)
"""What becomes of a run that is given up and would end with its kernel."""
FIRST_DELAY, MOST_DELAY, DELAY_FACTOR = 0.2, 5.0, 1.8
"""Seconds between two attempts: the first, the longest, and the growth."""

_T = TypeVar("_T")


def delays() -> Iterator[float]:
    """Yield the seconds to wait before each further attempt."""
    delay = FIRST_DELAY
    while True:
        yield delay
        delay = min(MOST_DELAY, delay * DELAY_FACTOR)


def patiently(
    action: Callable[[], _T],
    seconds: float,
    *,
    is_pointless: Callable[[], bool] = lambda: False,
    probe: Callable[[], object] | None = None,
) -> _T:
    """Return the result of `action`, which is tried again after a transient failure.

    Args:
        action: the request. It must be safe to repeat.
        seconds: how long to try, from the first failure or the last success of `probe`.
        is_pointless: whether the result is no longer needed, so that no further attempt is made.
        probe: a short request before each further attempt, which shows that the connection is back. None: `action`
            itself is short.

    Raises:
        GivenUp: no attempt succeeded in time.
        BaseException: any other failure of `action`, or a transient one when further attempts are pointless.
    """
    since: float | None = None
    waits = delays()
    while True:
        try:
            if since is not None and probe is not None:
                probe()
                since, waits = None, delays()
            return action()
        except BaseException as error:  # noqa: PERF203 - an attempt takes a round trip
            now = time.monotonic()
            if not is_transient(error) or is_pointless():
                raise
            since = now if since is None else since
            if now - since > seconds:
                raise GivenUp(words(seconds, error), CANCELLED) from error
            time.sleep(next(waits))


def words(seconds: float, error: BaseException) -> str:
    """Return the clause about the connection, for a run that is given up."""
    minutes = f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"  # noqa: PLR2004 - a minute
    why = str(error).strip() or type(error).__name__
    return f"the connection to Modal was lost for {minutes} ({why})"
