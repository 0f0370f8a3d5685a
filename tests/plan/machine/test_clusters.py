"""What Modal refuses of clusters and ranks is refused before anything is sent: one sentence, a caret, a way out."""

from __future__ import annotations

import contextlib
import itertools
import re

import pytest

from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.plan.machine.definition import Machine, inherit

WRONG = [
    ("H100:4 --nodes 2", "--nodes 2", "H100:4 is a part of a node, .* write H100:8."),
    ("H100! --nodes 2", "--nodes 2", "H100! is a part of a node, .* write H100!:8."),
    ("A10 --nodes 2", "--nodes 2", "A10 is a part of a node, .* write A10:4."),
    ("H100:8 H200:4 --nodes 2", "--nodes 2", "H200:4 is a part of a node, .* write H200:8."),
    ("--nodes 4", "--nodes 4", "Modal has no clusters without GPUs; write .* H100:8 --nodes 4."),
    ("H100:2 --torchrun 4", "--torchrun 4", "4 processes are more than H100:2 has GPUs; write --torchrun 2, .*"),
    ("H100:4 A100:2 --torchrun=3", "--torchrun=3", "3 processes are more than A100:2 has GPUs; write --torchrun 2, .*"),
    ("--torchrun", "--torchrun", "Without GPUs torchrun needs a number of processes; write --torchrun 2."),
    ("H100:2 --ranks 1", "--ranks 1", "--ranks needs --torchrun; add --torchrun, .*"),
    ("H100:2 --torchrun --ranks 0,2", "--ranks 0,2", "Rank 2 does not exist: ranks are 0 to 1; write --ranks all .*"),
    ("H100:8 --nodes 2 --ranks 2", "--ranks 2", "Rank 2 does not exist: ranks are 0 to 1; .*"),
    ("H100:8 --nodes 2 --torchrun 2 --ranks 4", "--ranks 4", "Rank 4 does not exist: ranks are 0 to 3; .*"),
    ("H100:2 --torchrun --ranks all,1", "--ranks all,1", "All ranks include the others; write --ranks all."),
    ("H100:8 --no-rdma", "--no-rdma", "--no-rdma needs a cluster; add --nodes N, or remove --no-rdma."),
]


@pytest.mark.parametrize("line, fault, message", WRONG, ids=[line for line, _, _ in WRONG])
def test_a_line_is_refused_with_a_way_out(line: str, fault: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        inherit(None, parse(line), {}, {})
    assert re.fullmatch(message, caught.value.message), caught.value.message
    assert line[caught.value.start : caught.value.end] == fault


def test_the_session_s_gpus_count_where_the_line_names_none() -> None:
    with pytest.raises(LineError, match="8 processes are more than H100:2"):
        inherit(Machine.of("H100:2"), parse("--torchrun 8"), {}, {})


RIGHT = [
    ("H100:8 --nodes 4", 4, True),
    ("H100:8 --nodes 4 --no-rdma", 4, False),
    ("H100:8 --nodes 4 --torchrun 2 --ranks 7", 4, True),
    ("B200:8 B300:8 --nodes 32", 32, True),
    ("A100-80GB:8 --nodes 2", 2, False),
    ("H100:8 A100-80GB:8 --nodes 2", 2, False),
    ("H100:8 --nodes 1", 1, False),
    ("H100:2 --torchrun --ranks all", 1, False),
    ("--torchrun 4 --ranks 3", 1, False),
]


@pytest.mark.parametrize("line, nodes, rdma", RIGHT, ids=[line for line, _, _ in RIGHT])
def test_a_cluster_is_linked_by_rdma_where_every_gpu_has_it(line: str, nodes: int, rdma: bool) -> None:
    machine = inherit(None, parse(line), {}, {})
    assert (machine.nodes, machine.rdma) == (nodes, rdma)


def test_a_later_header_has_no_cluster_by_accident() -> None:
    cluster = inherit(None, parse("H100:8 --nodes 4"), {}, {})
    assert inherit(cluster, parse(""), {}, {}) == Machine.of("H100:8")


def test_a_machine_variable_brings_its_cluster() -> None:
    big = Machine.of("H100:8", nodes=4, rdma=True)
    line = parse("big", machines=["big"])
    assert inherit(big, line, {}, {}) == big
    assert inherit(Machine.of("H100:8", nodes=4), line, {}, {}).rdma is False
    assert inherit(big, parse("big --no-rdma --nodes 2", machines=["big"]), {}, {}) == Machine.of("H100:8", nodes=2)


@pytest.mark.parametrize(
    "specs, options, message",
    [
        (("H100:4",), {"nodes": 2}, "write H100:8"),
        ((), {"nodes": 2}, "no clusters without GPUs"),
        (("H100:8",), {"nodes": 33}, "write fewer nodes"),
        (("H100:8",), {"nodes": 0}, "write nodes=1 or more"),
        (("T4:8",), {"nodes": 2, "rdma": True}, "T4 has no RDMA at Modal"),
        (("H100:8",), {"rdma": True}, "write nodes=2 or more"),
    ],
)
def test_a_machine_that_modal_does_not_have(specs: tuple[str, ...], options: dict[str, int], message: str) -> None:
    with pytest.raises(MachineError, match=message):
        Machine.of(*specs, **options)


def test_a_cluster_costs_all_its_nodes() -> None:
    cluster, node = Machine.of("H100:8", nodes=4), Machine.of("H100:8")
    assert node.per_hour is not None
    assert cluster.per_hour == pytest.approx(4 * node.per_hour)
    assert f"{cluster.per_hour:.0f}" == "126"
    assert cluster.title == "4 x H100:8"
    assert Machine.of("A10:4", nodes=2).scaledown < Machine.of("A10:4").scaledown


OPTIONS = {
    "--torchrun": ("", "--torchrun", "--torchrun 1", "--torchrun 4"),
    "--ranks": ("", "--ranks 0", "--ranks 4", "--ranks all", "--ranks all,1"),
    "--nodes": ("", "--nodes 1", "--nodes 2", "--nodes 32"),
    "--no-rdma": ("", "--no-rdma"),
}


@pytest.mark.parametrize("specs", ["", "T4", "H100:8", "H100:8 A100:4"])
def test_every_combination_is_taken_or_refused_with_a_place(specs: str) -> None:
    for words in itertools.product(*OPTIONS.values()):
        line = parse(" ".join(filter(None, (specs, *words))))
        with contextlib.suppress(LineError, MachineError):
            inherit(None, line, {}, {})


def test_without_gpus_torchrun_is_told_first() -> None:
    line = parse("--ranks 4 --torchrun")
    with pytest.raises(LineError, match="Without GPUs torchrun needs a number of processes; write --torchrun 2"):
        inherit(None, line, {}, {})
