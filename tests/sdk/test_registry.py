"""Entries of detached sessions: what is written is read again, by other versions too; names that Modal takes."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from modal_gpu_magic import Machine
from modal_gpu_magic.errors import SetupError
from modal_gpu_magic.sdk.names import object_name
from modal_gpu_magic.sdk.registry import Entry, SentRun, _entry, machine_of, machine_row

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


def test_a_row_of_another_version_is_read_as_far_as_it_is_known() -> None:
    entry = Entry("s", "modal-gpu-s", machine_row(MACHINES[1]), owner="o", run=SentRun("r", 3, 60.0, 1.0))
    row = json.loads(json.dumps(asdict(entry)))
    assert _entry(row) == entry
    assert _entry({**row, "later": 1}) == entry
    assert machine_of({**row["machine"], "later": [1]}) == MACHINES[1]
    assert _entry({**row, "run": {"unknown": 1}}) is None
    assert _entry("no row") is None
    assert entry.worst_end == 61.0


@pytest.mark.parametrize("session", ["train", "my-notes", "a.b_c", "X1"])
def test_names_that_modal_takes(session: str) -> None:
    assert object_name("modal-gpu", session) == f"modal-gpu-{session}"


@pytest.mark.parametrize("session", ["ä", "a b", "a/b", "x" * 60, ""])
def test_names_that_modal_refuses_are_refused_with_the_remedy(session: str) -> None:
    with pytest.raises(SetupError, match="Write another one: --session NAME"):
        object_name("modal-gpu" if session else "", session)
