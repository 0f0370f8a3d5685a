"""The reference's ten snippets, with today's names, as a user runs them: `... -- modal run SCRIPT`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.control_plane.plane import SOURCES, run_command

SNIPPETS = SOURCES / "tests" / "snippets"

PRINTED = {
    "01_single_gpu.py": ["^GPU 0: NVIDIA A100-SXM4-40GB"],
    "02_many_gpus.py": ["^GPUs: 8$"],
    "03_fallbacks.py": ["^got: NVIDIA H100 80GB HBM3$"],
    "04_variants.py": ["A100-SXM4-40GB, 40960 MiB\n.*A100-SXM4-80GB, 81920 MiB\n.*H100 80GB HBM3, 81559 MiB"],
    "05_ddp.py": ["^4 ranks, loss below 0.001: True$"],
    "06_cluster.py": ["^4 ranks, loss below 0.001: True$", "^nodes: 4$"],
    "07_torch.py": ["^torch 2", "^CUDA: (True|False)$"],
    "08_cuda_toolkit.py": ["Not applied by the local backend: FROM nvidia/cuda", "^nvcc: "],
    "09_metrics.py": [r"utilization.gpu \[%\], memory.used \[MiB\], memory.total \[MiB\]\n\d+ %, \d+ MiB, 40960 MiB"],
    "10_service.py": ["^TEXT 0 in batch 1 of 32$", "^calls: [234]$"],
}
"""What each prints, as patterns."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PRINTED)
def test_the_reference_runs(name: str, places: dict[str, str], tmp_path: Path) -> None:
    ran = run_command(places, "modal", "run", str(SNIPPETS / name), cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for pattern in PRINTED[name]:
        assert re.search(pattern, ran.stdout, re.MULTILINE), ran.stdout + ran.stderr


def test_none_is_left_out() -> None:
    assert {path.name for path in SNIPPETS.glob("[0-9]*.py")} == set(PRINTED)
