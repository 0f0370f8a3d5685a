"""Requests and answers that travel through the queue, while the queue is slow, fails or loses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.cloud.cloud import Cloud, cloud
from tests.e2e.kernel import Kernel
from tests.session.serving import eventually


@pytest.fixture(scope="module")
def far() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


@pytest.fixture
def kernel(far: Cloud) -> Iterator[Kernel]:
    with Kernel(env=far.environ) as kernel:
        kernel.load()
        assert kernel.remote("kept = open('/dev/null')\nruns = []", "T4").ok
        assert kernel.run("import os\nsent = os.urandom(20_000)").ok
        yield kernel


def test_parts_that_come_late_are_waited_for(kernel: Kernel, far: Cloud) -> None:
    far.gates.close("QueuePut")

    def open_when_reached() -> None:
        eventually(lambda: far.gates.reached("QueuePut"), within=80.0)
        far.gates.open("QueuePut")

    opener = threading.Thread(target=open_when_reached)
    opener.start()
    assert kernel.remote("runs.append(len(sent))\nruns", "T4").value() == "[20000]"
    opener.join()


def test_parts_that_are_refused_fail_the_cell_in_one_sentence(kernel: Kernel, far: Cloud) -> None:
    far.gates.fail("QueuePut", status="INVALID_ARGUMENT")
    refused = kernel.remote("runs.append(len(sent))", "T4")
    far.gates.mend("QueuePut")
    said = "Modal refused a part of the cell's request: a fault of the test in QueuePut. The cell did not run."
    assert refused.error == f"TransferError: {said}"
    assert "modal_gpu_magic" not in refused.traceback
    assert kernel.remote("runs, len(sent)", "T4").value() == "([], 20000)"


def test_an_answer_whose_event_is_lost_is_asked_for(kernel: Kernel, far: Cloud) -> None:
    far.gates.fail("QueueGet", status="NOT_FOUND")
    result = kernel.remote("print('said')\nimport os\ncame = os.urandom(20_000)\nlen(came)", "T4")
    far.gates.mend("QueueGet")
    assert (result.stdout, result.value()) == ("said\n", "20000")
    assert kernel.print("len(came)") == "20000"
