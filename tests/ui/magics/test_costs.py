"""`%modal_gpu costs`: in a real shell, from a ledger that other kernels have written."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest

from modal_gpu_magic.errors import LineError
from modal_gpu_magic.session.costs.ledger import Ledger, Record
from modal_gpu_magic.session.costs.summary import Period, summarise
from modal_gpu_magic.ui.fronts.bars import columns, rows
from modal_gpu_magic.ui.fronts.cost_report import Section, price_notes, report_html, report_text
from modal_gpu_magic.ui.magics.costs import read
from modal_gpu_magic.ui.magics.notebook_name import path_of
from tests.ui.hostile import HOSTILE
from tests.ui.shell import in_shell

NOW: Final = datetime(2026, 11, 18, 12).astimezone().timestamp()
"""Noon, in the shell, too: no day ends in the middle of a test."""
RUN: Final = Record(
    "1", "run", NOW - 30, NOW - 20, NOW - 20, "cloud", "default", "H100:2", "H100",
    notebook="train.ipynb", outcome="done", phases={"running": 10.0}, dollars=12.5, hourly=7.9,
    price_date="2026-09-01", price_source="Modal's price list",
)  # fmt: skip
RECORDS: Final = (
    RUN,
    replace(RUN, id="2", kind="idle", outcome="", dollars=0.25),
    replace(RUN, id="3", gpu="T4", notebook="", dollars=2.0, price_source="your account", price_date="2026-11-01"),
    replace(RUN, id="4", backend="local", gpu="L4", notebook="try.ipynb", dollars=99.0),
)
LINES: Final = (
    "costs",
    "costs today",
    "costs week",
    "costs month --bill",
    "costs todya",
    "costs yesterday please",
    "bill",
    "cost",
)
SCRIPT: Final = f"""
import time
from IPython.utils.capture import capture_output
time.time = lambda: {NOW!r}
run("%load_ext modal_gpu_magic")
for line in {LINES!r}:
    with capture_output() as captured:
        result = shell.run_cell("%modal_gpu " + line)
    error = result.error_in_exec
    out[line] = [captured.stdout, str(error or ""), [each.data for each in captured.outputs]]
run("%config ModalGpu.ledger = False")
out["off"] = run("%modal_gpu costs")
out["tab"] = [tab("%modal_gpu cos"), tab("%modal_gpu costs "), tab("%modal_gpu costs w"), tab("%modal_gpu costs week ")]
out["negative"] = run("%config ModalGpu.budget_day = -1")
out["header"] = run("%%modal_gpu costs\\n1")
out["modal"] = [str("modal" in sys.modules)]
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    ledger = Ledger(home / ".local" / "state" / "modal-gpu-magic" / "ledger")
    for record in RECORDS:
        ledger.append(record)
    with next(ledger.folder.iterdir()).open("a") as file:
        file.write("{damaged\n")
    return in_shell(home, SCRIPT)


def test_real_money_stands_apart_from_simulated(said: dict[str, Any]) -> None:
    _, error, (bundle,) = said["costs week"]
    assert error == ""
    text, html = bundle["text/plain"], bundle["text/html"]
    assert "costs of the last 7 days · ≈ $14.75 · 2 runs" in text
    assert "local backend, costs of the last 7 days · free (≈ $99.00 on Modal) · 1 run ·" in text
    assert re.search(r"^train\.ipynb +\$12\.75 +1 +0:20 +█{20}$", text, re.MULTILINE)
    assert re.search(r"^T4 +\$2\.00 +1 +0:10 +█{3}$", text, re.MULTILINE)
    assert "estimates by Modal's price list of 2026-09-01 · estimates by your account of 2026-11-01" in " ".join(
        text.split()
    )
    assert "1 damaged line of the ledger left out" in " ".join(text.split())
    assert html.count("<img") == 6
    assert html.count("<table>") == 6
    assert not re.search(r"<(script|style|link|svg)|class=|var\(|https?:", html)


@pytest.mark.parametrize("line, count", [("costs today", 4), ("costs", 6), ("costs month --bill", 6)])
def test_periods(said: dict[str, Any], line: str, count: int) -> None:
    printed, error, (bundle,) = said[line]
    assert error == ""
    assert bundle["text/html"].count("<img") in (count, 4)  # on the first day of a month, a day is no chart
    assert ("The local backend is free, so no bill exists." in printed) == ("--bill" in line)


@pytest.mark.parametrize(
    "line, words",
    [
        ("costs todya", "costs has no todya; did you mean today?"),
        ("costs yesterday please", "costs has no yesterday;"),
        ("bill", "did you mean costs?"),
        ("cost", "did you mean costs?"),
    ],
)
def test_slips(said: dict[str, Any], line: str, words: str) -> None:
    assert words in said[line][1]


def test_completion_and_help(said: dict[str, Any]) -> None:
    command, first, week, rest = said["tab"]
    assert command == ["%modal_gpu costs"]
    assert first == [f"%modal_gpu costs {word}" for word in ("today", "week", "month", "--bill")]
    assert week == ["%modal_gpu costs week"]
    assert rest == [f"%modal_gpu costs week {word}" for word in ("today", "month", "--bill")]
    assert "costs is a command, not a GPU" in said["header"][1]
    assert "should not be less than 0.0" in said["negative"][0]
    assert said["modal"] == ["False"]


def test_a_ledger_that_is_off_is_said(said: dict[str, Any]) -> None:
    assert "The ledger is off" in said["off"][0]


@pytest.mark.parametrize(
    "text, found", [("", ("week", False)), ("Today", ("today", False)), ("--bill month", ("month", True))]
)
def test_words(text: str, found: tuple[str, bool]) -> None:
    assert read(text) == found


@pytest.mark.parametrize("text", ["--bil", "monthly", "1", "today,week"])
def test_wrong_words(text: str) -> None:
    with pytest.raises(LineError, match="costs has no"):
        read(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_as_text(text: str) -> None:
    records = [replace(RUN, notebook=text, gpu=text, price_source=text)]
    summary = summarise(records, Period.of("today", NOW), "cloud")
    section = Section(text, summary, price_notes(records))
    html = report_html([section])
    assert not re.search(r"<(script|b|i|a|svg)\b[^>]*>", html.replace("<b>", ""))
    assert report_text([section], 100).replace("\n", "").isprintable()
    for chart in section.charts:
        assert chart.svg.count("<svg") == 1


def test_every_chart_is_a_picture_that_browsers_draw() -> None:
    """One character that XML reserves, and a browser shows a broken image: amounts below a cent begin with one."""
    records = [
        replace(RUN, id=str(number), notebook=text, gpu=text, dollars=0.001, began=NOW - number * 86400)
        for number, text in enumerate(("a<b", "c&d", '"e"', "f"))
    ]
    summary = summarise(records, Period.of("week", NOW), "cloud")
    charts = Section("week", summary).charts
    assert len(charts) == 3
    for chart in charts:
        assert "<$0.01" in "".join(ET.fromstring(chart.svg).itertext())


def test_what_is_not_known_is_no_zero() -> None:
    records = [
        replace(RUN, gpu="B200", notebook="new.ipynb", dollars=None, hourly=None),
        replace(RUN, id="2", gpu="T4"),
    ]
    section = Section("today", summarise(records, Period.of("today", NOW), "cloud"))
    assert "B200 –" in section.charts[-1].alt
    assert re.search(r"^B200 +– +1", report_text([section], 100), re.MULTILINE)
    assert "$0.00" not in report_html([section]) + report_text([section], 100)
    nothing = Section("today", summarise(records[:1], Period.of("today", NOW), "cloud"))
    assert nothing.card.facts[1] == "cost –"
    assert "$0.00" not in report_html([nothing])


def test_the_tables_of_the_local_backend_say_that_the_money_is_simulated() -> None:
    section = Section("local", summarise([RUN], Period.of("today", NOW), "cloud"), is_simulated=True)
    assert report_text([section], 100).count("cost on Modal") == 3


def test_charts_of_nothing_and_of_much() -> None:
    assert columns("By day", []).alt == "By day: nothing"
    assert rows("By GPU", []).alt == "By GPU: nothing"
    many = rows("By GPU", [(f"gpu{number}", float(9 - number)) for number in range(9)])
    assert "6 more" in many.svg
    assert many.alt.count("$") == 9
    assert "NaN" not in columns("By day", [("a", 0.0), ("b", -0.1)]).svg


@pytest.mark.parametrize(
    "namespace, environ, path",
    [
        ({}, {"JPY_SESSION_NAME": "/home/me/a b.ipynb"}, "/home/me/a b.ipynb"),
        ({"__vsc_ipynb_file__": r"c:\work\x.ipynb"}, {"JPY_SESSION_NAME": "y.ipynb"}, r"c:\work\x.ipynb"),
        ({}, {"JPY_SESSION_NAME": "console-1-abc"}, ""),
        ({"__vsc_ipynb_file__": 3}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_the_notebook_s_path(namespace: dict[str, Any], environ: dict[str, str], path: str) -> None:
    assert path_of(namespace, environ) == path
