"""Pack a cell's exception for the notebook: the text to show, and the exception itself if it pickles."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import Failure
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.transfer import pack
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.own_code import words_of

if TYPE_CHECKING:
    from modal_gpu_magic.container.cell.shell import Outcome


def failure_of(outcome: Outcome, namespace: dict[str, Any]) -> Failure | None:
    """Return the failure of a cell with this outcome; None: the cell did not fail."""
    if outcome.error is None:
        return None
    return Failure(outcome.ename, outcome.evalue, outcome.traceback, _packed(outcome.error, namespace))


def failure_from(error: BaseException) -> Failure:
    """Make a failure of one of this package's own errors: without a traceback, only class and message are shown."""
    return Failure(name_of(type(error)), words_of(error), (), _packed(error, {}))


def signed(failure: Failure, origin: str) -> Failure:
    """Append a line with the origin to the traceback: `rank 3 of 8`."""
    return replace(failure, traceback=(*failure.traceback, f"({origin})")) if failure.traceback else failure


def _packed(error: BaseException, namespace: dict[str, Any]) -> Any:
    if fingerprint(error, namespace) is None:
        return None
    with suppress(TransferError):  # its class does not always do the same
        return pack({"error": error}, namespace, InlineStore())
    return None
