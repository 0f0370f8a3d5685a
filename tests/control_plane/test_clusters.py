"""Which clusters are refused, as Modal documents it, and with which way out."""

from __future__ import annotations

import pytest

from modal_gpu_magic.control_plane.clusters import check_cluster
from modal_gpu_magic.control_plane.refusals import Invalid
from modal_gpu_magic.line.spec import GpuSpec


@pytest.mark.parametrize(
    ("nodes", "specs", "rdma"),
    [
        (1, ["H100:8"], False),
        (32, ["H100:8"], True),
        (4, ["H200:8", "B300:8"], True),
        (2, ["A100:8", "A10:4", "T4:8"], False),
    ],
)
def test_what_modal_takes(nodes: int, specs: list[str], rdma: bool) -> None:
    check_cluster(nodes, [GpuSpec.parse(spec) for spec in specs], rdma=rdma)


@pytest.mark.parametrize(
    ("nodes", "specs", "rdma", "sentence"),
    [
        (2, [], False, 'needs GPUs on Modal: give its nodes some, such as gpu="H100:8"'),
        (2, ["H100"], False, "whole nodes on Modal: H100:8, not H100"),
        (2, ["H100:8", "H100!:4"], False, "whole nodes on Modal: H100:8, not H100!:4"),
        (2, ["A10:2"], False, "whole nodes on Modal: A10:4, not A10:2"),
        (33, ["A10:4"], False, "at most 32 nodes on Modal; this one has 33"),
        (2, ["A100-80GB:8"], True, "not for A100-80GB: leave rdma=True out"),
    ],
)
def test_what_modal_refuses(nodes: int, specs: list[str], rdma: bool, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        check_cluster(nodes, [GpuSpec.parse(spec) for spec in specs], rdma=rdma)
