"""What follows from how a run ended: whether it is sent again, and whether its container is still the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from modal.exception import ConflictError, NotFoundError

from modal_gpu_magic import Machine
from modal_gpu_magic.errors import ContainerLost
from modal_gpu_magic.session.run import conclude
from modal_gpu_magic.session.run.conclude import never_ran
from modal_gpu_magic.session.run.run_end import Ended
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
    assert ended(reason).lacks("parts") is same_container


@pytest.mark.parametrize("lost", [NotFoundError("no App"), ConflictError("the App has stopped")])
@pytest.mark.parametrize(
    "machine, words",
    [
        (Machine(), "Modal ended the App and its container before the cell had ended."),
        (Machine(detach=True), "the App and its container were ended before the cell had ended."),
    ],
)
def test_an_app_that_has_ended_is_no_refused_machine(lost: BaseException, machine: Machine, words: str) -> None:
    run: Any = SimpleNamespace(machine=machine, ended=Ended(None, lost, stopped=False, terminated=False, began=True))
    error = conclude._lost(run)
    assert isinstance(error, ContainerLost)
    assert str(error) == f"{words} Its variables are lost; the next cell starts a new container."
