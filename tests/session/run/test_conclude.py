"""What follows from how a run ended: whether it is sent again, and whether its container is still the same."""

from __future__ import annotations

import pytest

from modal_gpu_magic.session.run.conclude import lacks_parts, never_ran
from modal_gpu_magic.session.run.pump import Ended
from modal_gpu_magic.wire.messages.events import Answer, Need

GENERATION = "0123456789ab"


def ended(reason: str | None) -> Ended:
    need = Need(GENERATION, reason) if reason else None  # type: ignore[arg-type]  # each is one of the reasons
    return Ended(Answer(GENERATION, "1.0", need), None, stopped=False, terminated=False)


@pytest.mark.parametrize(
    "reason, again, same_container",
    [
        ("generation", True, False),
        ("buffers", True, False),
        ("objects", True, False),
        ("parts", True, True),
        (None, False, False),
    ],
)
def test_what_a_container_lacks(reason: str | None, again: bool, same_container: bool) -> None:
    assert never_ran(ended(reason)) is again
    assert lacks_parts(ended(reason)) is same_container
