"""A warm cell of a detached session waits for nothing but its spawn and its result; the registry has the run later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.cloud.conftest import Far
from tests.e2e.detached_user import wait_until

BESIDE: Final = ("DictGet", "DictUpdate", "VolumeCommit", "VolumeListFiles2", "VolumeGetFile2")
"""What a warm cell's own way to the container and back does not need: the registry, and the Volume with the log."""
LISTED: Final = (
    "__import__('modal_gpu_magic.sdk.registry', fromlist=['Registry']).Registry(__import__('modal_gpu_magic.sdk.client', "
    "fromlist=['connect']).connect('cloud')).get('apart').run.code"
)


@pytest.fixture
def apart(far: Far) -> Iterator[Far]:
    """A warm detached session."""
    made = far.kernel.remote("x = 0", "T4 --session apart --detach", timeout=100)
    assert made.ok, made.error
    yield far
    for name in BESIDE:
        far.cloud.gates.open(name)
        far.cloud.gates.mend(name)
    assert far.kernel.run("%modal_gpu stop apart").ok


def wait_until_listed(far: Far, code: str) -> None:
    wait_until(lambda: far.kernel.print(LISTED) == code)


def test_a_warm_cell_waits_for_no_registry_and_no_log(apart: Far) -> None:
    for name in BESIDE:
        apart.cloud.gates.close(name)
    for number in range(1, 6):
        ran = apart.kernel.remote(f"x += 1\nprint('ran', x)\nx + {number}", "T4 --session apart")
        assert ran.ok, ran.error
        assert (ran.stdout, ran.value()) == (f"ran {number}\n", str(2 * number))
    assert not ran.stderr
    wait_until(lambda: apart.cloud.gates.reached("DictUpdate"))  # the run is announced, beside it
    for name in BESIDE:
        apart.cloud.gates.open(name)
    wait_until_listed(apart, "x += 1")


def test_an_announcement_that_the_server_refuses_is_made_later(apart: Far) -> None:
    apart.cloud.gates.fail("DictUpdate", status="INTERNAL")
    ran = apart.kernel.remote("x = 'announced'\nx", "T4 --session apart")
    assert ran.value() == "'announced'"
    assert not ran.stderr
    wait_until(lambda: apart.cloud.gates.failed("DictUpdate") > 0)
    apart.cloud.gates.mend("DictUpdate")
    wait_until_listed(apart, "x = 'announced'")
