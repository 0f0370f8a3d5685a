"""`current()`: what was asked for and what arrived, also in children and ranks; and in the notebook, where neither is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modal_gpu_magic import current
from modal_gpu_magic.catalog.gpus import SMI_NAMES
from modal_gpu_magic.container.gpu.current import ASKED, FOUND, Current, Device, certain_count, publish
from modal_gpu_magic.metrics.sample import parse
from modal_gpu_magic.wire.messages.events import Asked
from tests.container.smi_double import Smi, row

H100 = "NVIDIA H100 80GB HBM3"
RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ASKED, FOUND, "MODAL_GPU_SIMULATED", *RANKS):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken away again
        monkeypatch.delenv(name)


def asked(*specs: str, backend: str = "cloud") -> Asked:
    return Asked(specs, backend, dict(SMI_NAMES))


def test_in_the_notebook() -> None:
    assert current() == Current(backend="kernel")


def test_a_cpu_container() -> None:
    publish(asked(backend="local"), (), os.environ)
    assert current() == Current(backend="local")


def test_what_arrived_for_a_fallback() -> None:
    publish(asked("H200:8", "H100:2"), parse(row(0) + row(1)), os.environ)
    found = current()
    assert (found.spec, found.asked, found.backend, found.simulated) == ("H100:2", ("H200:8", "H100:2"), "cloud", False)
    assert found.gpus == (Device(0, "GPU-0", H100, 81559), Device(1, "GPU-1", H100, 81559))


@pytest.mark.parametrize(
    "rows, spec",
    [
        ("0, GPU-0, 143771, NVIDIA H200\n", "H200"),
        ("0, GPU-0, 24564, NVIDIA GeForce RTX 4090\n", None),
        ("0, GPU-0, 81559, NVIDIA H100 80GB HBM3\n1, GPU-1, 143771, NVIDIA H200\n", None),
        ("No devices were found\n", None),
    ],
)
def test_nvidia_smi_is_asked_where_nothing_was_read_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, spec: str | None
) -> None:
    smi = Smi(tmp_path / "smi")
    smi.says("short", rows)
    monkeypatch.setenv("PATH", smi.path)
    publish(asked("H100"), (), os.environ)
    assert current().spec == spec
    assert len(current().gpus) == rows.count("GPU-")
    assert len(smi.asked) == (1 if "GPU-" in rows else 2), "once it has said, its word is kept"


def test_where_there_is_no_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    publish(asked("H100"), (), os.environ)
    assert (current().spec, current().gpus, current().asked) == (None, (), ("H100",))


def test_simulated_gpus_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_GPU_SIMULATED", "1")
    publish(asked("H100", backend="local"), parse(row()), os.environ)
    assert (current().spec, current().simulated) == ("H100", True)


def test_a_rank_s_child_process_sees_the_same_and_its_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    publish(asked("H100:2"), parse(row(0) + row(1)), os.environ)
    for name, number in zip(RANKS, "51831", strict=True):
        monkeypatch.setenv(name, number)
    script = "import json, modal_gpu_magic as m, dataclasses as d; print(json.dumps(d.asdict(m.current())))"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    assert {name: seen[name] for name in ("rank", "local_rank", "world_size", "node", "nodes")} == dict(
        rank=5, local_rank=1, world_size=8, node=3, nodes=1
    )
    assert (seen["spec"], len(seen["gpus"])) == ("H100:2", 2)


def test_a_new_machine_is_seen_by_the_next_cell() -> None:
    publish(asked("H100"), (), os.environ)
    publish(asked("H100", "L4"), (), os.environ)
    assert json.loads(os.environ[ASKED])["specs"] == ["H100", "L4"]


@pytest.mark.parametrize(
    "specs, count", [(("H100",), 1), (("H100!:8", "A100-80GB:8"), 8), (("H100:2", "A100"), None), ((), None)]
)
def test_how_many_arrive_is_known_where_all_specs_agree(specs: tuple[str, ...], count: int | None) -> None:
    assert certain_count(asked(*specs)) == count
