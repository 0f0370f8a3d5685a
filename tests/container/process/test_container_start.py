"""When a container began: by the control plane's word, else by the age of its process."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from modal_gpu_magic.container.process.container_start import MOST_SECONDS, VARIABLE, began_at


def test_the_control_plane_says_when_on_the_clock_that_both_share() -> None:
    environ = {VARIABLE: repr(time.monotonic() - 5), "HOME": "/root"}
    assert time.time() - began_at(environ) == pytest.approx(5, abs=0.2)
    assert environ == {"HOME": "/root"}, "no cell sees it"


def test_elsewhere_the_process_is_as_old_as_its_container() -> None:
    source = (
        "import time; time.sleep(1); from modal_gpu_magic.container.process.container_start import began_at\n"
        "print(began_at({}))"
    )
    began = time.time()
    printed = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert float(printed) == pytest.approx(began, abs=0.5)


@pytest.mark.parametrize("told", ["soon", repr(time.monotonic() + 6000), repr(time.monotonic() - 2 * MOST_SECONDS)])
def test_an_age_that_cannot_be_is_not_believed(told: str) -> None:
    assert time.time() - began_at({VARIABLE: told}) == pytest.approx(0, abs=0.2)
