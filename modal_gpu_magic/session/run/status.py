"""A run as those see it who look on from beside: the picker's strip, `%modal_gpu status`."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from modal_gpu_magic.session.run.interrupts import press

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.front import Front, Phase
    from modal_gpu_magic.session.run.interrupts import Inbox


@contextlib.contextmanager
def seen_running(session: Session, front: Front, inbox: Inbox) -> Iterator[None]:
    """Whoever looks on sees that a cell runs, and may stop it; and how one broke off."""
    session.press = partial(press, inbox)
    session.meter.runs(session.about.hourly)
    session.metrics.tell()
    try:
        yield
    except BaseException as error:
        session.meter.outcome = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        front.broke_off(session.meter.outcome)
        raise
    finally:
        session.press = None
        session.meter.ran(time.time() + session.machine.scaledown if session.is_open else None)
        session.metrics.tell()


def seen_entering(session: Session, phase: Phase) -> None:
    """The run enters a phase."""
    session.meter.enters(phase)
    session.metrics.tell()
