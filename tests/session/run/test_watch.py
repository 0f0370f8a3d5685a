"""What is said beside a run: a GPU at 0 %, with the suspect; a GPU that is ill. Each once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from modal_gpu_magic.session.run.metrics import Metrics
from modal_gpu_magic.session.run.watch import IDLE_SECONDS, Watch, suspect
from modal_gpu_magic.wire.messages.events import Event
from tests.session.run.test_metrics import FAULT, sample


def said(*events: Event, source: str = "train()", **values: Any) -> list[str]:
    """What a run with these samples says."""
    watch = Watch(Metrics(), source, values)
    lines = []
    for event in events:
        watch.take(event)
        lines += list(watch.sample())
    return lines


def seconds(loads: Sequence[Sequence[float | None]], **facts: Any) -> list[Event]:
    """A sample a second."""
    return [sample(100 + second, *load, **facts) for second, load in enumerate(loads)]


LONG = int(IDLE_SECONDS) + 1


@pytest.mark.parametrize(
    "loads, words",
    [
        ([[0]] * LONG, "The GPU has been at 0 % for 30 s of this run."),
        ([[0]] * 3 * LONG, "The GPU has been at 0 % for 30 s of this run."),
        ([[0, 0]] * LONG, "All 2 GPUs have been at 0 % for 30 s of this run."),
        ([[70, 0]] * LONG, "GPU 1 of 2 has been at 0 % for 30 s of this run."),
        ([[9, 0, 0]] * LONG, "GPU 1, 2 of 3 have been at 0 % for 30 s of this run."),
        ([[0]] * (LONG - 1), None),
        ([*[[0]] * 20, [1], *[[0]] * 20], None),
        ([[None]] * LONG, None),
    ],
)
def test_a_gpu_at_0_percent_is_said_once(loads: list[list[float | None]], words: str | None) -> None:
    assert said(*seconds(loads)) == ([] if words is None else [words])


@pytest.mark.parametrize("facts", [dict(driver="simulated"), dict(running=False), dict(late=True)])
def test_not_of_a_simulated_gpu_nor_of_the_time_between_cells(facts: dict[str, Any]) -> None:
    assert said(*seconds([[0]] * 2 * LONG, **facts)) == []


def test_the_next_run_begins_anew() -> None:
    metrics = Metrics()
    for _ in range(2):
        watch = Watch(metrics, "", {})
        lines = []
        for event in seconds([[0]] * (LONG - 5)):
            watch.take(event)
            lines += list(watch.sample())
        assert lines == []


def test_a_run_that_begins_again_elsewhere_has_not_been_idle() -> None:
    watch = Watch(Metrics(), "", {})
    for event in seconds([[0]] * (LONG - 1)):
        watch.take(event)
    watch.begin()
    watch.take(sample(100 + LONG, 0))
    assert list(watch.sample()) == []


SW_CAP, SW_HEAT, HW, HW_HEAT = 0x4, 0x20, 0x8, 0x40


def test_a_gpu_that_is_held_down_is_said_once_for_each_reason() -> None:
    reasons = [0, SW_CAP, SW_HEAT, SW_HEAT | SW_CAP, 0, SW_HEAT, HW | HW_HEAT, HW, 1, None]
    events = [sample(100 + second, 90, clock_reasons=bits) for second, bits in enumerate(reasons)]
    assert said(*events) == [
        "GPU 0 is throttled: SW thermal slowdown.",
        "GPU 0 is throttled: HW thermal slowdown.",
        "GPU 0 is throttled: HW slowdown.",
    ]


def test_each_gpu_of_each_node_is_named() -> None:
    events = [sample(100, 90, 90, node=node, clock_reasons=SW_HEAT) for node in (0, 1)]
    assert said(*events)[-2:] == [f"node 1 GPU {gpu} is throttled: SW thermal slowdown." for gpu in (0, 1)]


class TestSuspects:
    @pytest.mark.parametrize(
        "source, words",
        [
            ("model = Net(device='cpu')", "The cell says `device='cpu'`."),
            ('x = x.to("cpu")\ntorch.cuda.synchronize()', 'The cell says `.to("cpu")`.'),
            ("d = torch.device('cpu')", "The cell says `torch.device('cpu')`."),
            ("import torch\nnet = Net()", "Nothing in the cell's own text says cuda."),
            ("import torch\nnet = Net().cuda()", ""),
            ("import torch\nnet = Net().to(device)", ""),
            ("import jax", ""),
            ("time.sleep(60)", ""),
        ],
    )
    def test_the_text(self, source: str, words: str) -> None:
        assert suspect(source, {}) == words

    def test_a_device_from_the_notebook(self) -> None:
        import torch

        assert suspect("net.to(device)", {"device": "cpu"}) == "`device` is 'cpu': it came from the notebook."
        assert "`d` is device(type='cpu')" in suspect("net.to(d)", {"d": torch.device("cpu"), "e": 1})
        assert suspect("net.to(device)", {"device": "cuda"}) == ""

    def test_a_model_or_tensor_from_the_notebook(self) -> None:
        import torch

        moved = "came from the notebook's CPU, and nothing in the cell moves it"
        assert f"`net` {moved}" in suspect("fit(net)", {"net": torch.nn.Linear(1, 1), "n": 3})
        assert f"`batch` {moved}" in suspect("fit(batch)", {"batch": torch.zeros(1)})
        assert suspect("fit(batch.cuda())", {"batch": torch.zeros(1)}) == ""
        assert suspect("fit(bare)", {"bare": torch.nn.Identity()}) == ""

    def test_values_that_raise_are_no_suspects(self) -> None:
        class Odd(str):
            __slots__ = ()

            def __str__(self) -> str:
                raise ValueError

        assert suspect("f(odd)", {"odd": Odd("cuda")}) == ""


def test_the_suspect_is_named_with_the_fact() -> None:
    (line,) = said(*seconds([[0]] * LONG), source="net.to(device)", device="cpu")
    assert line.endswith("of this run. `device` is 'cpu': it came from the notebook.")


def test_a_fault_in_the_output_or_the_log_is_said_once() -> None:
    watch = Watch(Metrics(), "", {})
    printed = Event(0, "stream", {"name": "stderr", "text": FAULT})
    assert list(watch.output(printed)) == [
        "GPU fault; Modal does nothing: run the cell again, if needed on another machine. GPU-a: XID: 13, pid=7"
    ]
    assert list(watch.log(FAULT)) == []
    (line,) = watch.log("[gpu-health] [CRITICAL] GPU-b: XID: 79: off the bus")
    assert line == "GPU fault; Modal will stop using this machine. GPU-b: XID: 79: off the bus"
    assert list(watch.output(Event(1, "clear_output", {"wait": False}))) == []
