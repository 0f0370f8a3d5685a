"""The texts of a run. What is not known is `–` or left out, never 0."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.metrics.history import Use
from modal_gpu_magic.plan.machine.advice import Advice
from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.session.run.front import Phase, State
from modal_gpu_magic.session.run.receipt import Receipt
from modal_gpu_magic.ui.fronts.receipt import clock, duration, heading, question_text, receipt_text, status_text


@pytest.mark.parametrize(
    "seconds, text", [(0, "0:00"), (41.9, "0:41"), (60, "1:00"), (3599, "59:59"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (1.44, "1.4 s"),
        (9.96, "10 s"),
        (12.3, "12 s"),
        (119.4, "119 s"),
        (119.6, "1:59"),
        (185, "3:05"),
        (7384, "2:03:04"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "phase, text",
    [
        ("connecting", "connecting 0:12"),
        ("building", "building image 0:12"),
        ("waiting", "waiting for H100:2 since 0:12"),
        ("starting", "starting H100:2 0:12"),
        ("restoring", "restoring H100:2 0:12"),
        ("installing", "installing H100:2 0:12"),
        ("starting ranks", "starting H100:2 0:12"),
        ("running", "running on H100:2 0:12"),
        ("saving", "saving values on H100:2 0:12"),
        ("restarted", "restarted by Modal, running on H100:2 0:12"),
        ("stopping", "stopping on H100:2 0:12"),
    ],
)
def test_status(phase: Phase, text: str) -> None:
    assert status_text(State(phase, "H100:2", 12.9)) == text


def test_a_status_has_what_is_known_of_it() -> None:
    assert status_text(State("waiting", "L4", 75, "A10 would do.")) == "waiting for L4 since 1:15 · A10 would do."


def test_the_heading_says_how_it_ended_and_what_is_there_now() -> None:
    receipt = Receipt("failed", "H100", "cloud", simulated=False, idle_seconds=300, ended_at=ENDED)
    assert heading(receipt) == ("failed", "idle until 14:05")
    assert heading(replace(receipt, outcome="lost", idle_seconds=0)) == ("lost", "container stopped")


def text(**facts: Any) -> str:
    base: dict[str, Any] = dict(outcome="done", asked="H100", backend="cloud", simulated=False, price_date="2026-01-01")
    return receipt_text(Receipt(**{**base, **facts}))


USE = Use("GPU-a", "NVIDIA H100 80GB HBM3", 10035, 81559, 76.4, 98, 512.3, 700)
ENDED = time.mktime((2026, 1, 1, 14, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    "facts, line",
    [
        (dict(), "H100 · run – · cost –"),
        (dict(outcome="lost"), "H100 · run – · lost · cost –"),
        (dict(ran=12.0), "H100 · run 12 s · cost –"),
        (dict(waited=0.0, started=4.0, ran=0.0), "H100 · queue 0 ms · start 4.0 s · run 0 ms · cost –"),
        (dict(hourly=3.6), "H100 · run – · cost –"),
        (
            dict(ran=12.0, stays=(("m", "it is open"), ("n", "2 GB"))),
            "H100 · run 12 s · kept on the GPU: m (it is open), n (2 GB) · cost –",
        ),
        (
            dict(ran=1.0, wrote=(("out/m.pt", 12_000_000),)),
            "H100 · run 1.0 s · wrote out/m.pt (12 MB): %modal_gpu get session:out/m.pt . · cost –",
        ),
        (
            dict(ran=1.0, wrote=(("a b", 2), ("c", 1)), session="big"),
            "H100 · run 1.0 s · wrote a b (2 B), c (1 B): "
            "%modal_gpu get 'session:a b' session:c . --session big · cost –",
        ),
        (
            dict(ran=1.0, wrote=tuple((f"out/{n}", 1) for n in range(5))),
            "H100 · run 1.0 s · wrote out/0 (1 B), out/1 (1 B), out/2 (1 B) and 2 more: "
            "%modal_gpu get session:out . · cost –",
        ),
        (
            dict(ran=1.0, wrote=tuple((f"{n}", 1) for n in range(5))),
            "H100 · run 1.0 s · wrote 0 (1 B), 1 (1 B), 2 (1 B) and 2 more: "
            "%modal_gpu get session:0 session:1 session:2 . · cost –",
        ),
        (dict(ran=100.0, hourly=3.6), "H100 · run 100 s · cost $0.10 · prices of 2026-01-01"),
        (
            dict(ran=100.0, hourly=3.6, idle_seconds=300, ended_at=ENDED),
            "H100 · run 100 s · cost $0.10 · idle until 14:05 adds up to $0.30 · prices of 2026-01-01",
        ),
        (
            dict(backend="local", simulated=True, asked="H100:2 L4", ran=100.0, hourly=3.6, idle_seconds=300),
            "H100:2 L4 · local · CPU · H100:2 simulated · run 100 s · free (≈ $0.10 on Modal) · prices of 2026-01-01",
        ),
        (dict(backend="local", asked="CPU", ran=3.0), "CPU · local · CPU · run 3.0 s · free"),
        (dict(got="H200:2", asked="H100:2 L4", ran=3.0), "H200:2 (asked H100:2 L4) · run 3.0 s · cost –"),
        (
            dict(got="H100", ran=3.0, uses=(USE,), hourly=3.95, advice=Advice(GpuSpec("L4"), 3.15)),
            "H100 (asked H100) · run 3.0 s · peak 9.8/80 GB · mean 76 %, peak 98 % · mean 512 W · cost <$0.01 · "
            "prices of 2026-01-01 · an L4 would fit: saves $3.15/h",
        ),
        (
            dict(
                ran=3.0,
                uses=(USE, replace(USE, peak_mib=30, mean_utilization=0, peak_utilization=0, mean_power_w=None)),
            ),
            "H100 · run 3.0 s · peak 0.03 to 9.8/80 GB · mean 0 to 76 %, peak 0 to 98 % · mean 512 W · cost –",
        ),
        (
            dict(ran=3.0, uses=(Use("GPU-a"),)),
            "H100 · run 3.0 s · peak –/– GB · mean – %, peak – % · mean – W · cost –",
        ),
        (
            dict(backend="local", simulated=True, ran=3.0, uses=(replace(USE, mean_power_w=None, simulated=True),)),
            "H100 · local · CPU · H100 simulated · run 3.0 s · "
            "peak 9.8/80 GB, mean 76 %, peak 98 % of this machine's memory and processors · free",
        ),
    ],
)
def test_receipt(facts: dict[str, Any], line: str) -> None:
    assert text(**facts) == line


def test_the_question_before_a_dear_cell_counts_all_nodes() -> None:
    machine = Machine.of("H100:8", nodes=4)
    assert machine.per_hour is not None
    text = question_text(machine.title, machine.per_hour, 3600, machine.per_hour)
    assert text == "4 x H100:8 ($126/h) for up to 1:00:00 may cost $126. Run it? [y/N] "
