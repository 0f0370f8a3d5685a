"""The texts of a run. What is not known is `–` or left out, never 0."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.metrics.history import Use
from modal_gpu_magic.plan.machine.advice import Advice
from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.session.run.front import Phase, State
from modal_gpu_magic.session.run.phases import PhaseTime
from modal_gpu_magic.session.run.receipt import Receipt
from modal_gpu_magic.ui.fronts.card import Card, card_text
from modal_gpu_magic.ui.fronts.durations import clock, duration
from modal_gpu_magic.ui.fronts.receipt import (
    Container,
    container_after,
    question_text,
    receipt_card,
    status_text,
)


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


ENDED = datetime(2026, 1, 1, 14, 0, tzinfo=timezone.utc).timestamp()
UNTIL = Container("idle", ENDED + 300)
USE = Use("GPU-a", "NVIDIA H100 80GB HBM3", 10035, 81559, 76.4, 98, 512.3, 700)
PLAIN: dict[str, Any] = dict(
    outcome="done", asked="H100", backend="cloud", simulated=False, prices="prices of 2026-01-01", ended_at=ENDED
)
LOCAL: dict[str, Any] = dict(backend="local", simulated=True)
WAITED: dict[str, Any] = dict(waited=2.0, started=4.0, ran=12.0)


def card(container: Container = UNTIL, **facts: Any) -> Card:
    return receipt_card(Receipt(**{**PLAIN, **facts}), container, timezone.utc)


@pytest.mark.parametrize(
    "facts, line",
    [
        # How it ended.
        (dict(ran=12.0, hourly=3.6), "done · H100 · 12 s · $0.01"),
        (dict(ran=12.0, hourly=3.6, outcome="failed"), "failed · H100 · 12 s · $0.01"),
        (dict(ran=12.0, hourly=3.6, outcome="stopped"), "stopped · H100 · 12 s · $0.01"),
        (dict(ran=12.0, hourly=3.6, outcome="timed out"), "timed out · H100 · 12 s · $0.01"),
        (dict(outcome="lost"), "lost · H100 · time – · cost –"),
        (dict(outcome="lost", waited=3.0), "lost · H100 · 3.0 s · cost –"),
        # Where.
        (dict(ran=1.0, got="H100"), "done · H100 · 1.0 s · cost –"),
        (dict(ran=1.0, got="H200:2", asked="H100:2"), "done · H200:2 (asked H100:2) · 1.0 s · cost –"),
        (dict(ran=1.0, got="L4", asked="H100:2 L4"), "done · L4 (asked H100:2 L4) · 1.0 s · cost –"),
        (dict(ran=1.0, got="H100:2", asked="H100:2 L4"), "done · H100:2 · 1.0 s · cost –"),
        (dict(ran=1.0, asked="H100:2 L4"), "done · H100:2 L4 · 1.0 s · cost –"),
        (dict(ran=1.0, asked="CPU", hourly=0.05), "done · CPU · 1.0 s · <$0.01"),
        (dict(ran=1.0, asked="4 x H100:8", got="4 x H100:8", hourly=126.0), "done · 4 x H100:8 · 1.0 s · $0.04"),
        (dict(ran=1.0, **LOCAL), "done · H100 simulated on this CPU · 1.0 s · free"),
        (dict(ran=1.0, **LOCAL, asked="H100:2 L4"), "done · H100:2 simulated on this CPU · 1.0 s · free"),
        (dict(ran=1.0, **LOCAL, asked="2 x H100:8 B200:8"), "done · 2 x H100:8 simulated on this CPU · 1.0 s · free"),
        (dict(ran=1.0, backend="local", asked="CPU"), "done · this machine's CPU · 1.0 s · free"),
        (dict(ran=1.0, backend="local", got="H200"), "done · H200 of this machine (asked H100) · 1.0 s · free"),
        (dict(ran=1.0, backend="local"), "done · H100 of this machine · 1.0 s · free"),
        # Time: of the cell, and of all.
        (dict(waited=0.0, started=0.0, ran=0.0), "done · H100 · 0 ms · cost –"),
        (dict(**WAITED), "done · H100 · 18 s (cell 12 s) · cost –"),
        (dict(started=0.01, ran=12.0), "done · H100 · 12 s · cost –"),
        (
            dict(
                ran=1.0, phases=(PhaseTime("waiting", 9.5), PhaseTime("starting ranks", 30.0), PhaseTime("running", 1))
            ),
            "done · H100 · 40 s (cell 1.0 s) · cost –",
        ),
        # Money.
        (dict(ran=100.0, hourly=3.6), "done · H100 · 100 s · $0.10"),
        (dict(ran=100.0, hourly=3.6, **LOCAL), "done · H100 simulated on this CPU · 100 s · free (≈ $0.10 on Modal)"),
        (dict(ran=1.0, hourly=3.6, **LOCAL), "done · H100 simulated on this CPU · 1.0 s · free (<$0.01 on Modal)"),
        # The GPUs' load.
        (dict(ran=3.0, uses=(USE,)), "done · H100 · 3.0 s · cost – · peak 9.8 of 80 GiB · utilisation 76 %"),
        (
            dict(ran=3.0, uses=(USE, replace(USE, peak_mib=30, mean_utilization=0))),
            "done · H100 · 3.0 s · cost – · peak 30 MiB to 9.8 GiB of 80 GiB · utilisation 0 to 76 %",
        ),
        (
            dict(ran=3.0, uses=(USE, replace(USE, peak_mib=512, total_mib=23034))),
            "done · H100 · 3.0 s · cost – · peak 0.5 to 9.8 of 22 to 80 GiB · utilisation 76 %",
        ),
        (
            dict(ran=3.0, uses=(replace(USE, total_mib=None, mean_utilization=None),)),
            "done · H100 · 3.0 s · cost – · peak 9.8 GiB",
        ),
        (
            dict(ran=3.0, uses=(replace(USE, peak_mib=30),)),
            "done · H100 · 3.0 s · cost – · peak 30 MiB of 80 GiB · utilisation 76 %",
        ),
        (dict(ran=3.0, uses=(Use("GPU-a"),)), "done · H100 · 3.0 s · cost –"),
    ],
)
def test_the_line(facts: dict[str, Any], line: str) -> None:
    assert " · ".join(card(**facts).line) == line


@pytest.mark.parametrize(
    "container, text",
    [
        (UNTIL, "idle until 14:05 UTC at the latest"),
        (Container("reused", ENDED + 60), "idle until the next cell at 14:01 UTC"),
        (Container("ended", ENDED + 60), "container ended at 14:01 UTC"),
        (Container("ended"), "container ended"),
    ],
)
def test_what_became_of_the_container(container: Container, text: str) -> None:
    shown = card(container, ran=1.0)
    assert shown.moment
    assert shown.moment.text == text
    assert f" · cost – · {text} · " in card_text(shown)


@pytest.mark.parametrize(
    "receipt, container",
    [
        (Receipt(**PLAIN, idle_seconds=300), UNTIL),
        (Receipt(**PLAIN), Container("ended")),
    ],
)
def test_the_container_at_the_end_of_a_run(receipt: Receipt, container: Container) -> None:
    assert container_after(receipt) == container


@pytest.mark.parametrize(
    "facts, details",
    [
        (dict(ran=1.0), {}),
        (dict(**WAITED), {"Time": "waiting 2.0 s (not billed), starting 4.0 s, running 12 s"}),
        (
            dict(ran=1.0, phases=(PhaseTime("waiting", 9.5), PhaseTime("installing", 6), PhaseTime("running", 1))),
            {"Time": "waiting 9.5 s (not billed), installing 6.0 s, running 1.0 s"},
        ),
        (dict(ran=100.0, hourly=3.6), {"Cost": "prices of 2026-01-01"}),
        (
            dict(ran=100.0, hourly=3.6, idle_seconds=300),
            {"Cost": "the idle time costs up to $0.30 · prices of 2026-01-01"},
        ),
        (dict(ran=100.0, hourly=3.6, idle_seconds=300, **LOCAL), {"Cost": "prices of 2026-01-01"}),
        (dict(ran=1.0, asked="H100:2 L4", **LOCAL), {"GPU": "asked H100:2 L4"}),
        (dict(ran=1.0, asked="H100:2 L4", got="H100:2"), {"GPU": "asked H100:2 L4"}),
        (dict(ran=1.0, asked="H100:2 L4", got="L4"), {}),
        (
            dict(ran=3.0, uses=(USE, replace(USE, peak_utilization=None, mean_power_w=None))),
            {"GPU": "80 GB nominal · utilisation at most 98 % · mean power 512 W"},
        ),
        (
            dict(ran=3.0, uses=(replace(USE, mean_power_w=None, simulated=True),), **LOCAL),
            {"GPU": "80 GB nominal · utilisation at most 98 %"},
        ),
        (dict(ran=1.0, uses=(Use("GPU-a", "Unheard of"),)), {}),
        (dict(ran=1.0, sent_bytes=12_000_000, received_bytes=2_500), {"Values": "sent 12 MB · received 2.5 kB"}),
        (dict(ran=1.0, sent_bytes=999, received_bytes=97), {}),
        (
            dict(ran=1.0, stays=(("big", "300 MB, over --fetch 256MB"), ("n", "it is open"))),
            {"Values": "kept on the GPU: big (300 MB, over --fetch 256MB), n (it is open)"},
        ),
        (
            dict(ran=1.0, wrote=(("out/m.pt", 12_000_000),)),
            {"Files": "wrote out/m.pt (12 MB): %modal_gpu get session:out/m.pt ."},
        ),
        (
            dict(ran=1.0, wrote=(("a b", 2), ("c", 1)), session="big"),
            {"Files": "wrote a b (2 B), c (1 B): %modal_gpu get 'session:a b' session:c . --session big"},
        ),
        (
            dict(ran=1.0, wrote=tuple((f"out/{n}", 1) for n in range(5))),
            {"Files": "wrote out/0 (1 B), out/1 (1 B), out/2 (1 B) and 2 more: %modal_gpu get session:out ."},
        ),
        (
            dict(ran=1.0, wrote=tuple((f"{n}", 1) for n in range(5))),
            {"Files": "wrote 0 (1 B), 1 (1 B), 2 (1 B) and 2 more: %modal_gpu get session:0 session:1 session:2 ."},
        ),
        (dict(ran=1.0, advice=Advice(GpuSpec("L4"), 3.15)), {"Advice": "an L4 would fit: saves $3.15/h"}),
    ],
)
def test_the_details(facts: dict[str, Any], details: dict[str, str]) -> None:
    found = {
        each.label: " · ".join(each.facts) + f": {each.command}" * bool(each.command) for each in card(**facts).details
    }
    assert found == {
        **details,
        "Ended": "2026-01-01 14:00 UTC",
    }


def test_the_whole_text() -> None:
    shown = card(got="H200:2", asked="H100:2", **WAITED, hourly=7.9, uses=(USE,), sent_bytes=1_000, idle_seconds=300)
    assert card_text(shown) == (
        "done · H200:2 (asked H100:2) · 18 s (cell 12 s) · $0.04 · peak 9.8 of 80 GiB · utilisation 76 % · "
        "idle until 14:05 UTC at the latest · waiting 2.0 s (not billed), starting 4.0 s, running 12 s · "
        "the idle time costs up to $0.66 · prices of 2026-01-01 · 80 GB nominal · utilisation at most 98 % · "
        "mean power 512 W · sent 1.0 kB · ended 2026-01-01 14:00 UTC"
    )


@pytest.mark.parametrize("facts", [dict(), dict(**LOCAL), dict(uses=(USE,)), dict(stays=(("n", "w" * 90),))])
@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_text_is_broken_between_facts_or_words_only(facts: dict[str, Any], width: int) -> None:
    whole = card_text(card(**WAITED, **facts))
    lines = card_text(card(**WAITED, **facts), width).split("\n")
    assert " ".join(lines) == whole
    assert len(lines) > 1
    assert all(len(line) <= width or " " not in line for line in lines)


def test_a_break_between_facts_is_preferred() -> None:
    text = card_text(card(**WAITED, hourly=3.6), 60).split("\n")
    assert text[0] == "done · H100 · 18 s (cell 12 s) · $0.02 ·"


@pytest.mark.parametrize("facts", [dict(), *(dict(uses=(replace(USE, peak_mib=mib),)) for mib in (0, 1, 40, 100))])
def test_no_amount_is_0_0(facts: dict[str, Any]) -> None:
    assert "0.0" not in card_text(card(ran=1.0, **facts))


def test_characters_that_would_move_a_terminal_s_cursor_are_shown_by_number() -> None:
    shown = card_text(card(ran=1.0, wrote=(("a\x1b[2Jb\nc\u202e", 1),)))
    assert "a\\x1b[2Jb\\nc\\u202e" in shown
    assert shown.isprintable()


def test_the_question_before_a_dear_cell_counts_all_nodes() -> None:
    machine = Machine.of("H100:8", nodes=4)
    assert machine.per_hour is not None
    text = question_text(machine.title, machine.price_text, 3600, machine.per_hour)
    assert text == "4 x H100:8 ($126/h) for up to 1:00:00 may cost $126. Run it? [y/N] "
