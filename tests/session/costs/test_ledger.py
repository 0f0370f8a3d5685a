"""The ledger on disk: records come back as written, kernels append at once, damaged lines are skipped and counted."""

from __future__ import annotations

import itertools
import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modal_gpu_magic.session.costs.ledger import KINDS, SCHEMA, Ledger, Record, read_line
from modal_gpu_magic.session.costs.summary import joined

NOON: Final = 1_795_780_800.0
"""2026-11-27 12:00 UTC."""
RUN: Final = Record(
    "k-1", "run", NOON, NOON + 10, NOON + 10, "cloud", "default", "H100", "H100", dollars=0.5, hourly=3.95
)

moments = st.floats(0, 4e9)
texts = st.text(max_size=20)
amounts = st.none() | st.floats(-1, 1e6)
records = st.builds(
    Record,
    id=texts,
    kind=st.sampled_from(KINDS),
    began=moments,
    ended=moments,
    until=moments,
    backend=st.sampled_from(("cloud", "local")),
    session=texts,
    machine=texts,
    gpu=texts,
    nodes=st.integers(1, 32),
    notebook=texts,
    outcome=texts,
    phases=st.dictionaries(texts, st.floats(0, 1e6), max_size=3),
    dollars=amounts,
    hourly=amounts,
    price_date=texts,
    price_source=texts,
    detached=st.booleans(),
)


@given(st.lists(records, max_size=5))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=50
)
def test_records_come_back(tmp_path_factory: pytest.TempPathFactory, written: list[Record]) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    for each in written:
        ledger.append(each)
    found = ledger.read()
    assert found.skipped == 0
    assert {each.id for each in found.records} == {each.id for each in written}
    by_month = sorted(written, key=lambda each: f"{datetime.fromtimestamp(each.began, timezone.utc):%Y-%m}")
    first = {each.id: each.notebook for each in reversed(by_month)}
    assert all(each in [replace(one, notebook=first[one.id]) for one in written] for each in found.records)


@given(st.binary(max_size=300))
def test_no_line_stops_a_reader(line: bytes) -> None:
    assert read_line(line) is None


def test_the_records_of_a_session_that_was_ended_cost_no_more(tmp_path: Path) -> None:
    """Its kernel was killed in mid-run, and nobody else writes them."""
    ledger = Ledger(tmp_path)
    run = replace(RUN, until=NOON + 3600, phases={"running": 10.0}, nodes=2, hourly=3.6, detached=True)
    idle = replace(run, id="idle", kind="idle", phases={})
    others = (
        replace(run, id="other", session="other"),
        replace(run, id="local", backend="local"),
        replace(run, id="of a kernel", detached=False),  # a session of the same name that ends with its kernel
    )
    for each in (run, idle, *others):
        ledger.append(each)
    ledger.close("default", "cloud", NOON + 20)
    ledger.close("default", "cloud", NOON + 30)
    found = {each.id: each for each in ledger.read().records}
    assert found["k-1"].dollars == pytest.approx(0.51)
    closed = replace(run, ended=NOON + 20, until=NOON + 20, dollars=found["k-1"].dollars, phases={"running": 30.0})
    assert found["k-1"] == closed
    assert found["idle"] == replace(closed, id="idle", kind="idle", phases={"idle": 20.0})
    assert all(found[each.id] == each for each in others)


def test_a_later_record_replaces_an_earlier_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for dollars in (0.1, 0.2, 0.3):
        ledger.append(replace(RUN, dollars=dollars))
    (found,) = ledger.read().records
    assert found.dollars == 0.3


def test_a_run_belongs_to_the_notebook_that_has_sent_it(tmp_path: Path) -> None:
    """A kernel that attaches to the run goes on with the record."""
    ledger = Ledger(tmp_path)
    for notebook, dollars in [("train.ipynb", 0.1), ("look.ipynb", 0.2), ("", 0.3)]:
        ledger.append(replace(RUN, notebook=notebook, dollars=dollars))
    (found,) = ledger.read().records
    assert (found.notebook, found.dollars) == ("train.ipynb", 0.3)
    (shown,) = joined([found], [replace(found, notebook="look.ipynb", dollars=0.4, ended=found.ended + 1)])
    assert (shown.notebook, shown.dollars) == ("train.ipynb", 0.4)


WRONG: Final[tuple[dict[str, Any], ...]] = (
    {"v": 2},
    {"v": True},
    {"kind": "other"},
    {"began": "yesterday"},
    {"dollars": "1"},
    {"dollars": True},
    {"ended": math.nan},
    {"hourly": math.inf},
    {"nodes": 0},
    {"detached": 1},
    {"phases": []},
    {"phases": {"running": "long"}},
    {"notebook": None},
)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"null",
        b'{"v":1}',
        b"\xff\xfe\x00",
        b"[" * 5000,
        *(json.dumps({"v": SCHEMA, **asdict(RUN), **wrong}).encode() for wrong in WRONG),
    ],
)
def test_damaged_lines_are_skipped_and_counted(tmp_path: Path, line: bytes) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(RUN)
    with (tmp_path / "2026-11.jsonl").open("ab") as file:
        file.write(line)  # without an end, as a full disk leaves a line
    ledger.append(replace(RUN, id="k-2"))
    found = ledger.read()
    assert [each.id for each in found.records] == ["k-1", "k-2"]
    assert found.skipped == 1


def test_fields_of_later_versions_are_ignored() -> None:
    assert read_line(json.dumps({"v": SCHEMA, **asdict(RUN), "new": [1]}).encode()) == RUN


def test_only_the_user_reads_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state" / "ledger")
    ledger.append(RUN)
    (file,) = ledger.folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(ledger.folder.stat().st_mode) == 0o700


def test_a_month_has_a_file(tmp_path: Path) -> None:
    ledger, day = Ledger(tmp_path), 86_400.0
    for number, days in enumerate((-60, -30, 0)):
        ledger.append(replace(RUN, id=str(number), began=NOON + days * day, ended=NOON + days * day, until=0.0))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["2026-09.jsonl", "2026-10.jsonl", "2026-11.jsonl"]
    assert [each.id for each in ledger.read(NOON - day).records] == ["2"]
    assert [each.id for each in ledger.read().records] == ["0", "1", "2"]


def test_a_run_over_the_end_of_a_month_is_found(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(replace(RUN, began=NOON - 40 * 86_400, ended=NOON))
    assert len(ledger.read(NOON - 60).records) == 1


def test_no_ledger_has_no_records(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "missing").read().records == ()


PROGRAM: Final = """
import sys
from dataclasses import replace
from datetime import datetime, timezone
from datetime import datetime, timezone
from pathlib import Path
from tests.session.costs.test_ledger import RUN
from modal_gpu_magic.session.costs.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for number in range(300):
    ledger.append(replace(RUN, id=f"{sys.argv[2]}-{number}", session="x" * (number % 97)))
"""


def test_kernels_append_at_once(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    kernels = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), name], env=environ) for name in ("a", "b", "c")
    ]
    assert [each.wait(110) for each in kernels] == [0, 0, 0]
    found = Ledger(tmp_path).read()
    assert found.skipped == 0
    assert len(found.records) == 900


@pytest.mark.parametrize(
    "now, dollars", [(NOON, 0.5), (NOON + 10, 0.5), (NOON + 10 + 1800, 0.5 + 3.95 / 2), (NOON + 9e6, 0.5 + 3.95)]
)
def test_an_open_record_costs_on(now: float, dollars: float) -> None:
    assert replace(RUN, until=NOON + 10 + 3600).dollars_at(now) == pytest.approx(dollars)


def test_an_unknown_price_is_not_zero() -> None:
    assert replace(RUN, dollars=None).dollars_at(NOON) is None
    assert replace(RUN, hourly=None, until=NOON + 20).dollars_at(NOON + 20) is None
    assert replace(RUN, hourly=None).dollars_at(NOON + 20) == 0.5


@given(records, st.lists(moments, min_size=1, max_size=6), moments)
def test_days_add_up_to_the_whole(record: Record, cuts: list[float], now: float) -> None:
    edges = [-1.0, *sorted(cuts), 5e9]
    whole = record.dollars_at(now)
    parts = [record.dollars_within(start, end, now) for start, end in itertools.pairwise(edges)]
    if whole is None:
        assert set(parts) == {None}
    else:
        assert sum(part or 0.0 for part in parts) == pytest.approx(whole, rel=1e-9, abs=1e-6)
