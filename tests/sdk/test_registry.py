"""Entries of detached sessions: what is written is read again, by other versions too; names that Modal takes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modal_gpu_magic import Machine
from modal_gpu_magic.errors import SetupError
from modal_gpu_magic.sdk.names import object_name
from modal_gpu_magic.sdk.registry import (
    MOST_RUNS,
    Entry,
    Runs,
    SentRun,
    entry_of,
    entry_row,
    in_order,
    is_later,
    machine_of,
    machine_row,
    runs_of,
    runs_row,
)

MACHINES = (
    Machine(),
    Machine.of("H100:2", "A100-80GB", detach=True),
    Machine.of(
        "L4", pip=["einops", "torch==2.0"], apt=["ffmpeg"], volumes={"d": "/d", "e": "/e"}, secrets=["hf"], cpu=2.0
    ),
    Machine.of(
        "H100!", image="ubuntu:24.04", memory=1024, region="us-east", keep_warm=2, start_timeout=60, cache=False
    ),
)


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_a_machine_comes_back_as_it_was(machine: Machine) -> None:
    row = json.loads(json.dumps(machine_row(machine)))
    assert machine_of(row) == machine
    assert hash(machine_of(row)) == hash(machine)


def test_values_of_the_environment_are_not_written() -> None:
    machine = Machine.of("H100", env=[("TOKEN", "a-secret-value")])
    assert "a-secret-value" not in json.dumps(machine_row(machine))
    assert machine_of(machine_row(machine)).env == ()


def sent(run: str) -> SentRun:
    return SentRun(run, 3, 60.0, 1.0)


def ids(runs: Runs) -> list[str]:
    return [each.id for each in runs.sent]


def test_a_row_of_another_version_is_read_as_far_as_it_is_known() -> None:
    entry = Entry("s", "modal-gpu-s", machine_row(MACHINES[1]), owner="o")
    row = json.loads(json.dumps(entry_row(entry)))
    assert entry_of(row) == entry
    assert entry_of({**row, "later": 1}) == entry
    assert machine_of({**row["machine"], "later": [1]}) == MACHINES[1]
    assert entry_of({**row, "run": {"unknown": 1}}) == entry
    assert entry_of("no row") is None
    assert entry.with_runs(Runs().with_run(sent("k-1"))).worst_end == 61.0


def test_the_runs_of_a_claim_come_back_as_they_were() -> None:
    runs = Runs(idle_seconds=5, queued=("1 + 1",)).with_run(sent("k-1")).with_run(sent("k-2")).with_end("k-2")
    row = json.loads(json.dumps(runs_row(runs)))
    assert runs_of(row) == runs
    assert runs_of({**row, "later": 1}) == runs
    assert runs.of_kernel("other").queued == (), "another kernel's cells wait no more"
    assert runs_of({**row, "sent": [{"unknown": 1}]}) == Runs()
    assert runs_of(None) == Runs()
    assert entry_of(row) is None, "no entry"
    assert Entry("s", "a", idle_seconds=9).with_runs(runs).idle_seconds == 5


def test_a_run_stays_until_a_kernel_has_reported_its_end_and_the_last_one_stays_anyway() -> None:
    runs = Runs().with_run(sent("a-1"))
    assert ids(runs.with_end("a-1")) == ["a-1"]
    assert ids(runs.with_end("a-1").with_run(sent("a-2"))) == ["a-2"]
    unseen = runs.with_run(sent("b-1")).with_run(sent("b-2"))
    assert ids(unseen) == ["a-1", "b-1", "b-2"]
    assert ids(unseen.with_end("b-1")) == ["a-1", "b-2"]
    assert ids(unseen.with_end("b-2").with_end("a-1").with_run(sent("c-1"))) == ["b-1", "c-1"]
    assert ids(unseen.with_end("x-1")) == ids(unseen)


def test_a_session_keeps_a_bounded_number_of_runs_and_counts_the_others() -> None:
    runs = Runs()
    for number in range(MOST_RUNS + 3):
        runs = runs.with_run(sent(f"k-{number}"))
    assert ids(runs) == [f"k-{number}" for number in range(3, MOST_RUNS + 3)]
    assert runs.dropped == 3


def test_a_run_that_its_kernel_could_not_announce_is_known_by_its_number() -> None:
    runs = Runs().of_kernel("a").with_run(sent("a-4")).with_run(sent("a-7"))
    assert runs.unlisted(["a-4", "a-7", "a-3", "x-9", "odd"]) == ()
    assert runs.unlisted(["a-8", "a-7"]) == ("a-8",)
    later = runs.of_kernel("b")
    assert later.unlisted(["b-12", "a-10", "a-9", "b-2"]) == ("a-9", "a-10", "b-2", "b-12")
    assert ids(later.with_found(sent("a-9"))) == ["a-9"]
    assert ids(later.with_found(sent("b-2"))) == ["a-4", "a-7", "b-2"]
    assert later.with_run(sent("a-9")).with_end("a-9").with_run(sent("b-1")).unlisted(["a-9", "b-1"]) == ()


@pytest.mark.parametrize(
    ("found", "order"),
    [
        ({"a-1": 1, "a-2": 2, "b-1": 3}, ["a-1", "a-2", "b-1"]),
        ({"a-2": 1, "b-1": 2, "a-3": 3}, ["a-2", "b-1", "a-3"]),
        ({"b-1": 2, "a-2": 1}, ["a-2", "b-1"]),
        ({"a-9": 5, "a-10": 4, "b-1": 4.5}, ["b-1", "a-9", "a-10"]),  # the clock of a-10's container is slow
        ({"a-1": 1}, ["a-1"]),
        ({}, []),
    ],
)
def test_runs_that_only_their_logs_know_are_in_order_of_time_although_kernels_took_turns(
    found: dict[str, float], order: list[str]
) -> None:
    known = Runs().of_kernel("b").of_kernel("a")
    runs = [replace(sent(run), sent_at=found[run]) for run in known.unlisted(found)]
    assert [run.id for run in in_order(runs)] == order


def test_a_queued_cell_whose_run_is_found_no_longer_waits() -> None:
    runs = Runs(queued=("f()", "g()")).of_kernel("a")
    assert runs.queued == ()
    runs = replace(runs, queued=("f()", "g()"))
    assert runs.with_found(replace(sent("a-1"), code="f()")).queued == ("g()",)
    assert runs.with_found(replace(sent("a-1"), code="g()")).queued == ("f()", "g()"), "another cell of that line"


@pytest.mark.parametrize("session", ["train", "my-notes", "a.b_c", "X1"])
def test_names_that_modal_takes(session: str) -> None:
    assert object_name("modal-gpu", session) == f"modal-gpu-{session}"


@pytest.mark.parametrize("session", ["ä", "a b", "a/b", "x" * 60, ""])
def test_names_that_modal_refuses_are_refused_with_the_remedy(session: str) -> None:
    with pytest.raises(SetupError, match="Write another one: --session NAME"):
        object_name("modal-gpu" if session else "", session)


@pytest.mark.parametrize(
    ("run", "earlier", "later"),
    [("k-3", "k-2", True), ("k-2", "k-2", False), ("k-10", "k-9", True), ("j-3", "k-2", False)],
)
def test_a_run_is_later_than_others_of_its_kernel(run: str, earlier: str, later: bool) -> None:
    assert is_later(run, earlier) == later
