"""Cells in a cloud of the tests: the backend `cloud`, no shared directory, payloads above Modal's limits over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.cloud.cloud import Cloud, cloud
from tests.cloud.proxy import Link, megabits
from tests.e2e.kernel import Kernel

LINK: Final = Link(delay=0.02, up=megabits(400), down=megabits(400))


@pytest.fixture(scope="module")
def far() -> Iterator[Cloud]:
    with cloud(LINK) as running:
        yield running


@pytest.fixture(scope="module")
def kernel(far: Cloud) -> Iterator[Kernel]:
    with Kernel(env=far.environ) as kernel:
        kernel.load()
        yield kernel


def test_a_cell_says_that_it_ran_at_modal(kernel: Kernel) -> None:
    result = kernel.remote("print('hello')\n6 * 7", "T4")
    assert (result.stdout, result.value()) == ("hello\n", "42")
    assert "local" not in result.said


def test_a_declined_price_changes_nothing(far: Cloud) -> None:
    with Kernel(env=far.environ) as kernel:
        kernel.load()
        assert kernel.remote("big = [0] * 10", "T4 --fetch 0").ok
        before = kernel.run("%modal_gpu status").stdout.partition(" · idle")[0]
        for header in ("H100:8", "H100:8 --bg train", "H100:8 --session new", "H100:8 --detach"):
            declined = kernel.remote("1", header, answers=["n"])
            assert declined.error.startswith("MachineError: not run."), header
        status = kernel.run("%modal_gpu status").stdout
        assert status.partition(" · idle")[0] == before
        assert status.count("\n") <= 1, "one session"
        assert kernel.remote("len(big)", "").value() == "10"


@pytest.mark.parametrize("nbytes", [100, 9_000, 3_000_000], ids=["inline", "over 8 KiB", "over 2 MiB"])
def test_values_of_each_size_cross_both_ways(kernel: Kernel, far: Cloud, nbytes: int) -> None:
    assert kernel.run(f"import os\nsent = os.urandom({nbytes})").ok
    assert kernel.remote("1", "T4").ok  # the App is open
    up, down = far.proxy.carried
    result = kernel.remote("came = sent[::-1]\nlen(came)", "T4")
    assert result.value() == str(nbytes)
    assert kernel.print("came == sent[::-1]") == "True"
    carried = [now - before for now, before in zip(far.proxy.carried, (up, down), strict=True)]
    assert min(carried) >= nbytes  # over the network: nothing is shared
    assert max(carried) < 1.5 * nbytes + 100_000  # and once: the container is in the cloud


@pytest.mark.parametrize(
    "cell, is_blob",
    [
        ("len(small)", False),
        ("len(medium)", False),
        ("len(text)", False),
        ("len(several)", False),
        ("len(large)", True),
        ("import os\ncame = os.urandom(20_000)", False),
        ("import os\ncame = os.urandom(700_000)", False),
        ("print('x' * 30_000)", False),
        ("display({'image/png': 'ab' * 20_000}, raw=True)", False),
        ("import os\ncame = os.urandom(3_000_000)", True),
    ],
)
def test_only_what_is_large_goes_as_a_blob(kernel: Kernel, far: Cloud, cell: str, is_blob: bool) -> None:
    """The SDK would send all that has more than 8 KiB as a blob, which takes several round trips."""
    assert kernel.run(
        "import os\nsmall, medium, large = os.urandom(100), os.urandom(20_000), os.urandom(3_000_000)\n"
        "text = 'a line of text\\n' * 20_000\nseveral = os.urandom(1_200_000)"
    ).ok
    assert kernel.remote("1", "T4").ok
    far.gates.forget("BlobCreate")
    result = kernel.remote(cell, "T4")
    assert result.ok, result.traceback
    assert far.gates.passed("BlobCreate") is is_blob


def test_volumes_are_reached_over_the_network(kernel: Kernel) -> None:
    write = kernel.remote("open('/data/a.txt', 'w').write('kept')", "T4 --session files --volume files:/data")
    assert write.ok, write.error
    read = kernel.run("%modal_gpu get files:a.txt ./a.txt\nopen('a.txt').read()")
    assert read.ok, read.error
    assert "kept" in read.value()
