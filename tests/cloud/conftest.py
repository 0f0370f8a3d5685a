"""One cloud and one kernel for the tests of a module, and what happens to both while a cell runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.cloud.cloud import Cloud, cloud
from tests.cloud.proxy import Link, megabits
from tests.e2e.kernel import Kernel

LINK: Final = Link(delay=0.02, up=megabits(400), down=megabits(400))
SOON: Final = 60.0


@dataclass(frozen=True, slots=True)
class Far:
    """A kernel whose containers are in a cloud. `flags`: a folder that kernel, cells and the test see."""

    cloud: Cloud
    kernel: Kernel
    flags: Path

    def meanwhile(self, *steps: Callable[[], object]) -> None:
        """Do these in a thread, one after the other."""

        def do() -> None:
            for step in steps:
                step()

        threading.Thread(target=do, daemon=True).start()

    def when(self, condition: Callable[[], bool]) -> Callable[[], None]:
        """A step that waits until a condition holds."""

        def wait() -> None:
            until = time.monotonic() + SOON
            while not condition() and time.monotonic() < until:
                time.sleep(0.02)

        return wait


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Cloud, Kernel]]:
    """A cloud behind a short link, and a kernel with the extension."""
    with cloud(LINK) as far, Kernel(env=far.environ) as kernel:
        kernel.load()
        yield far, kernel


@pytest.fixture
def far(running: tuple[Cloud, Kernel], tmp_path: Path) -> Iterator[Far]:
    """A warm session named default, and a network that is whole again after the test."""
    found = Far(*running, tmp_path)
    _ready(found)
    yield found
    found.cloud.proxy.mend()
    for file in found.cloud.gates.folder.iterdir():
        file.unlink()


def _ready(far: Far) -> None:
    flags = f"import pathlib, time\nflags = pathlib.Path({str(far.flags)!r})\ncount = 0"
    assert far.kernel.run(flags).ok
    warm = far.kernel.remote("import pathlib, time\nflags = flags\ncount = count", "T4", timeout=100)
    assert warm.ok, warm.error
