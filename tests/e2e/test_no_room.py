"""Shared memory that is full, with a detached session: a sentence, nothing lost, and all goes on once some is free.

The limit of the size of a process's files is the full file system of these tests: each write above it fails.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.detached_user import User
from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(200)
FULL: Final = """
import resource
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
"""
FREE: Final = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"


@pytest.fixture(scope="module")
def kernel(user: User) -> Kernel:
    return user.kernel()


def detach(kernel: Kernel, session: str) -> None:
    used = kernel.run(f"%modal_gpu use T4 --session {session} --detach --keep-warm 60s")
    assert used.ok, used.error
    assert kernel.remote("kept = [1]", "").ok


def test_values_for_which_there_is_no_room_are_named_and_the_cell_does_not_run(kernel: Kernel) -> None:
    detach(kernel, "inwards")
    assert kernel.run(f"import numpy as np\nlarge = np.arange(1_000_000.0)\n{FULL}").ok
    refused = kernel.remote("kept.append(large.sum())", "")
    assert refused.error.startswith("NoRoomError: Cannot send `large`: /dev/shm has no room for 8.0 MB")
    assert "cannot be pickled" not in refused.error
    assert kernel.remote("kept.append(2); kept", "").value() == "[1, 2]"
    assert kernel.run(FREE).ok
    assert kernel.remote("kept.append(large.sum()); int(kept[-1])", "").value() == "499999500000"


def test_values_of_a_cell_for_which_there_is_no_room_stay_and_come_later(user: User, kernel: Kernel) -> None:
    detach(kernel, "outwards")
    source = (
        f"{FULL}import numpy as np\nprint('before')\nmade = np.arange(1_000_000.0)\nkept.append(4)\nprint('after')\n7"
    )
    ran = kernel.remote(source, "")
    assert (ran.ok, ran.stdout, ran.value()) == (True, "before\nafter\n", "7"), ran.error
    assert "made (/dev/shm has no room for 8.0 MB" in " ".join(ran.said.split())
    assert kernel.print("kept, type(made).__name__") == "[1, 4] RemoteValue"
    other = user.kernel()
    attached = other.run("%modal_gpu attach outwards")
    assert (attached.ok, attached.stdout, attached.value()) == (True, "before\nafter\n", "7"), attached.error
    refused = other.run("made.fetch()")
    assert "/dev/shm has no room for 8.0 MB" in refused.error
    assert other.remote(FREE, "").ok
    assert other.run("int(made.fetch().sum())").value() == "499999500000"
    assert other.remote("kept, int(made.sum())", "").value() == "([1, 4], 499999500000)"
