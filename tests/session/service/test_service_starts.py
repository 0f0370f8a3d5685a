"""A service's start and end, from plain Python against the real control plane: what is shown, raised and refused."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading

import numpy as np
import pytest

from modal_gpu_magic import Machine, Service
from modal_gpu_magic.errors import ContainerLost, ServiceError, TransferError
from modal_gpu_magic.plan.machine.definition import quote_of
from modal_gpu_magic.session.costs.ledger import Record
from modal_gpu_magic.session.run.front import BEFORE_CELL, SilentFront
from modal_gpu_magic.session.service.contents import refuse_large
from modal_gpu_magic.wire.values.remote import RemoteValue
from tests.session.serving import eventually, traceback_of


def test_a_start_that_fails_raises_the_cells_own_error() -> None:
    front = SilentFront()
    service = Service("print('before')\n1 / 0\ndef f(): ...", name="broken")
    with pytest.raises(ZeroDivisionError) as caught:
        service.start(front)
    assert front.text == "before\n"
    assert "line 2" in traceback_of(caught.value)
    assert not service.running


class BrokenOff(SilentFront):
    """Notes how a start has ended."""

    def broke_off(self, outcome: str, words: str = BEFORE_CELL) -> None:
        """Note the outcome and the words."""
        self.notes.append(f"{outcome} · {words}")


def test_a_start_that_fails_is_in_the_ledger_with_what_its_container_has_cost() -> None:
    records: list[Record] = []
    front = BrokenOff()
    service = Service("1 / 0\ndef f(): ...", "L40S", "broken")
    service.write = records.append
    with pytest.raises(ZeroDivisionError):
        service.start(front)
    assert re.match(r"failed · L40S · its container ran for \d+s · free \(.*\$.* on Modal\) · prices", front.notes[-1])
    assert records[-1].until == records[-1].ended
    assert records[-1].dollars == pytest.approx(quote_of(service.machine).cost(service.usage.seconds))
    assert service.usage.seconds > 0


def test_a_start_that_fails_before_its_container_costs_nothing() -> None:
    records: list[Record] = []
    service = Service("def f(): return there", "L40S", namespace={"there": threading.Lock()})
    service.write = records.append
    with pytest.raises(TransferError):
        service.start()
    assert records == []


@pytest.mark.parametrize("name", ["stop", "own", "machine", "update_autoscaler"])
def test_a_method_hides_nothing(name: str) -> None:
    with pytest.raises(ServiceError, match=f"the name {name} is reserved in a service"):
        Service(f"def {name}(): ...")


def test_a_cluster_serves_nothing() -> None:
    with pytest.raises(ServiceError, match="single nodes, and this machine has 2 nodes"):
        Service("def f(): ...", Machine.of("H100:8", nodes=2))


def test_a_value_that_lives_in_a_session_is_no_services() -> None:
    there = RemoteValue("model", "default", "Linear", "Linear 2 x 2", "it is too large")
    service = Service("def f(): return model", namespace={"model": there})
    with pytest.raises(
        TransferError, match=r"`model` (lives|is) in the container of session 'default'.*model.fetch\(\)"
    ):
        service.start()


def test_a_function_that_the_cell_takes_away_again() -> None:
    with pytest.raises(ServiceError, match="f is not a function after"):
        Service("def f(): ...\ndel f", name="gone").start()


def test_a_container_that_dies_in_its_start() -> None:
    with pytest.raises(ContainerLost, match="exit code 3"):
        Service("import os\nos._exit(3)\ndef f(): ...", name="dies").start()


def test_a_press_ends_the_start() -> None:
    front = SilentFront()
    service = Service("import time\nprint('begun', flush=True)\ntime.sleep(300)\ndef f(): ...", name="pressed")

    def press() -> None:
        eventually(lambda: "begun" in front.text)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt, match="while the service was starting"):
        service.start(front)
    presser.join()
    assert not service.running


def test_after_stop_it_says_so() -> None:
    service = Service("def f(): return 1", name="brief")
    with pytest.raises(ServiceError, match="brief is not started"):
        service.f()
    with service:
        assert service.f() == 1
    for use in (service.f, lambda: service.f.map([]), service.start):
        with pytest.raises(ServiceError, match="brief was"):
            use()
    assert "stopped" in repr(service)


def test_several_containers_may_start_at_once() -> None:
    front = SilentFront()
    with Service("print('loading')\ndef f(): return 1", name="two", min_containers=2).start(front) as service:
        assert service.f() == 1
    assert front.text == "loading\n", "of one of them"
    assert any("2 always running" in note for note in front.notes)


def test_values_that_are_too_large_for_a_definition() -> None:
    with pytest.raises(
        TransferError, match=r"Cannot send `weights` \(32 MB\): .*Put it on a Volume.*--volume NAME:/path"
    ):
        refuse_large({"weights": np.zeros(4_000_000), "k": 1})
    refuse_large({"weights": np.zeros(1_000_000)})
    with contextlib.suppress(ServiceError):
        Service("def f(): ...", backend="cloud").cancel("fc-1")
