"""What a GPU suffers is seen: on a machine whose scripted nvidia-smi has one, that is taken, hot, held down, ill."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_states import IDLE, LOAD, UNTIL, dashboard, moves, readable, strip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.browser.lab import Notebook

pytestmark = pytest.mark.timeout(300)
PROGRAM = """#!/bin/sh
case "$*" in
*-L*) echo "GPU 0: NVIDIA H200 (UUID: GPU-tape)"; exit;;
*uuid,memory.total,name*) echo "0, GPU-tape, 143771, NVIDIA H200"; exit;;
esac
while :; do
    echo "0, GPU-tape, 97, 40, 61440, 143771, 640.5, 700.00, $(cat {folder}/state), 580.95.05, NVIDIA H200"
    sleep 0.2
done
"""
WELL, HOT, HELD = (
    "71, 1980, 1980, P0, 5, 16, Disabled, 0x0000000000000004",
    "86, 1980, 1980, P0, 5, 16, Disabled, 0x0000000000000004",
    "84, 1215, 1980, P0, 5, 16, Disabled, 0x0000000000000024",
)
"""From the temperature on to what holds the clocks down: power cap (as it should be), then its heat."""
HOLDER = """
import threading
from modal_gpu_magic import Session
from modal_gpu_magic.session.run.front import SilentFront
from modal_gpu_magic.session.run.interrupts import Inbox
from modal_gpu_magic.session.run.cell import Cell

source = "import os, time\\nwhile not os.path.exists({path!r}): time.sleep(0.1)"
holder = Session("H100", "holder")
threading.Thread(target=holder.execute, args=(Cell(source), SilentFront(), Inbox()), daemon=True).start()
"""


class Gpu:
    """That machine's one GPU: `is_` says how it fares."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(PROGRAM.format(folder=folder))
        program.chmod(0o700)
        self.is_(WELL)

    def is_(self, state: str) -> None:
        """Write it whole."""
        (self.folder / "new").write_text(state)
        (self.folder / "new").rename(self.folder / "state")

    @property
    def here(self) -> str:
        """A cell that lets the kernel, and the control plane it starts, find the program."""
        return f"import os\nos.environ['PATH'] = {str(self.folder / 'bin')!r} + ':' + os.environ['PATH']\n{LOAD}"


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Gpu:
    return Gpu(tmp_path_factory.mktemp("gpu"))


def test_waiting_for_a_gpu(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], gpu: Gpu, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    opened = notebook(
        f"{gpu.here}\npicker = %modal_gpu picker H100\npicker",
        HOLDER.format(path=str(enough)),
        "import time\nwhile holder.status.standing.doing != 'running': time.sleep(0.1)",
        "%%modal_gpu H100\nprint('it came')",
    )
    for cell in range(3):
        opened.run(cell)
    opened.start(3)
    shown = dashboard(opened, 3)
    expect(shown.get_by_text("Other containers hold this machine's GPUs: the cell starts when")).to_be_visible(
        timeout=60_000
    )
    moves(shown.locator(".mgs-state"), "waiting for H100 since")
    expect(shown.locator(".mgs-money")).to_have_text("free (≈ $0.00 on Modal)")
    expect(strip(opened).locator(".mgs-state")).to_contain_text("waiting for GPU 0:")
    readable(opened, serious, ".mgd")
    enough.touch()
    text = opened.ended(3).inner_text()
    assert "it came" in text
    assert re.search(rf"^\s*done · .* · {IDLE}$", text, re.MULTILINE)


def test_a_gpu_that_is_hot_held_down_and_ill_is_marked(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], gpu: Gpu, tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    fault = "print('[gpu-health] [WARN] GPU-tape: XID: 31', flush=True)\nimport os, time"
    cell = UNTIL.format(line="H100", path=str(enough), last="").replace("import os, time", fault)
    opened = notebook(gpu.here, cell)
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    expect(shown.locator(".mgs-title")).to_have_text("H200 (asked H100)", timeout=60_000)
    notices = shown.get_by_role("list", name="Notices")
    expect(notices).to_contain_text("GPU fault; Modal does nothing")
    tile = shown.get_by_role("listitem", name="GPU 0")
    expect(tile).to_contain_text("60/140 GiB · 641 W · 71°")
    expect(tile.locator(".mgt-trouble")).to_be_empty()
    gpu.is_(HOT)
    expect(tile.locator(".mgt-trouble")).to_have_text("hot", timeout=60_000)
    gpu.is_(HELD)
    expect(tile.locator(".mgt-trouble")).to_have_text("throttled", timeout=60_000)
    expect(notices.get_by_text("GPU 0 is throttled: SW thermal slowdown.")).to_have_count(1)
    readable(opened, serious, ".mgd")
    gpu.is_(WELL)
    expect(tile.locator(".mgt-trouble")).to_be_empty(timeout=60_000)
    enough.touch()
    assert opened.ended(1).inner_text().count("is throttled") == 1
