"""Requests beside the run that fail: the autoscaler, statistics, logs, Volumes and Secrets. One sentence, or silence."""

from __future__ import annotations

from typing import Final

import pytest

from tests.cloud.conftest import Far
from tests.e2e.kernel import Result

STATUSES: Final = ("UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNIMPLEMENTED", "CANCELLED")


def is_plain(result: Result) -> bool:
    """Whether a failure is one of ours in one line, without frames and without lines of the SDK."""
    everything = result.stderr + result.traceback
    return "modal_gpu_magic/" not in everything and "site-packages" not in everything and "Traceback" not in everything


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "rpc, cell",
    [
        ("FunctionUpdateSchedulingParams", "%%modal_gpu T4 --keep-warm {}s\nprint('ran')"),
        ("FunctionGetCurrentStats", "%%modal_gpu T4\nprint('ran')"),
        ("AppFetchLogs", "%%modal_gpu T4\nprint('ran')"),
    ],
    ids=["autoscaler", "stats", "logs"],
)
def test_what_is_beside_the_run_does_not_end_it(far: Far, rpc: str, cell: str, status: str) -> None:
    far.cloud.gates.fail(rpc, status=status)
    result = far.kernel.run(cell.format(STATUSES.index(status) + 100), timeout=100)
    assert result.ok, result.error
    assert result.stdout == "ran\n"
    assert not result.stderr


def test_the_log_of_a_lost_container_that_cannot_be_read(far: Far) -> None:
    far.cloud.gates.fail("AppGetLogs", "AppFetchLogs")
    result = far.kernel.remote("import os\nos._exit(3)", "T4", timeout=100)
    assert result.error.startswith("ContainerLost: the container died while the cell ran")
    assert is_plain(result)


@pytest.mark.parametrize("status", ["PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE"])
@pytest.mark.parametrize(
    "rpc, source",
    [
        ("VolumeGetOrCreate", "%%modal_gpu L4 --session volumes --volume data:/data\n1"),
        ("SecretGetOrCreate", "%%modal_gpu L4 --session secrets --secret mine\n1"),
        ("VolumeListFiles2", "%modal_gpu ls data:"),
        ("VolumeGetFile2", "%modal_gpu get data:a.txt ./a.txt"),
        ("VolumePutFiles2", "%modal_gpu put b.txt data:b.txt"),
    ],
    ids=["mount", "secret", "ls", "get", "put"],
)
def test_a_volume_or_a_secret_that_fails(far: Far, rpc: str, source: str, status: str) -> None:
    assert far.kernel.run("open('b.txt', 'w').write('b')").ok
    made = far.kernel.remote(
        "open('/data/a.txt', 'w').write('a')", "T4 --session made --volume data:/data", timeout=100
    )
    assert made.ok, made.error
    far.cloud.gates.fail(rpc, status=status)
    result = far.kernel.run(source, timeout=100)
    assert far.cloud.gates.failed(rpc), "the request has another name"
    assert not result.ok
    assert is_plain(result)
    assert len(result.traceback.strip().splitlines()) == 1, result.traceback
