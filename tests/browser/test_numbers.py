"""From nvidia-smi to the page: on a machine whose nvidia-smi counts, the page counts with it; what it does not know is left out.

The local backend takes the scripted GPU for a real one, as it would one with a driver.
"""

from __future__ import annotations

import itertools
import re
import time
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.lab import CELL_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

    from tests.browser.lab import Notebook

PROGRAM = """#!/bin/sh
case "$*" in
*-L*) echo "GPU 0: NVIDIA H200 (UUID: GPU-count)"; exit;;
*query-compute-apps*) while echo "GPU-count, 4711, 20480, <b>python3</b>"; do sleep 1; done; exit;;
esac
for word in "$@"; do case "$word" in --query-gpu=*) fields=$(echo "${{word#*=}}" | tr , ' ');; esac; done
count=0
while :; do
    count=$((count + 1))
    row=""
    for field in $fields; do
        case $field in
        index) value=0;;
        uuid) value=GPU-count;;
        name) value="NVIDIA H200";;
        utilization.gpu) value=$((count % 100));;
        memory.used) value=$((count % 100 * 1024));;
        memory.total) value=143771;;
        driver_version) value=580.95.05;;
        *) value="[N/A]";;
        esac
        row="$row, $value"
    done
    echo "$((count % 100))" >> {folder}/told
    echo "${{row#, }}"
    case "$*" in *-lms*) sleep 1;; *) exit;; esac
done
"""


@pytest.fixture
def smi(tmp_path: Path) -> Path:
    """The folder of a scripted nvidia-smi, which writes there what it told."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(folder=tmp_path))
    program.chmod(0o700)
    return tmp_path


def told(smi: Path) -> list[int]:
    return [int(line) for line in (smi / "told").read_text().split()]


def shown_number(tile: Locator) -> int | None:
    """The number that the tile shows twice: as the utilisation, and as the memory in use."""
    shown = re.search(r"(\d+) %[\s\S]*?([\d.]+)/140\sGiB", tile.inner_text())
    return int(shown[1]) if shown is not None and float(shown[2]) == int(shown[1]) else None


def test_the_page_counts_with_the_script_and_unknown_is_left_out(notebook: Callable[..., Notebook], smi: Path) -> None:
    opened = notebook(
        f"import os\nos.environ['PATH'] = {str(smi / 'bin')!r} + os.pathsep + os.environ['PATH']\n%load_ext modal_gpu_magic",
        "%%modal_gpu H200\nimport time\ntime.sleep(300)",
        "m = %modal_gpu metrics\nprint(m.peak('power_w'), m.peak('temperature_c'), m.latest[0].simulated)",
    )
    opened.run(0)
    opened.start(1)
    shown = opened.cell(1).get_by_role("region", name="GPU dashboard")
    tile = shown.get_by_role("listitem", name="GPU 0")
    expect(tile).to_be_visible(timeout=CELL_MS)
    seen: list[int] = []
    end = time.monotonic() + CELL_MS / 1000
    while len(seen) < 4:
        assert time.monotonic() < end, (tile.inner_text(), told(smi))
        number = shown_number(tile)
        if number is not None and number not in seen:
            assert number in told(smi)
            seen.append(number)
        opened.page.wait_for_timeout(100)
    assert all(0 < (later - earlier) % 100 < 50 for earlier, later in itertools.pairwise(seen)), seen
    expect(tile).to_contain_text(re.compile(r"/140\sGiB$"))
    for name, count in (("Utilisation", 1), ("Power", 0), ("Temperature", 0), ("CPU", 1), ("RAM", 1)):
        expect(shown.get_by_role("radio", name=name)).to_have_count(count)
    expect(shown.get_by_role("row", name="GPU 0")).to_contain_text("4711<b>python3</b>20 GiB")
    expect(shown.get_by_text("simulated")).to_be_hidden()
    shown.get_by_role("button", name="Stop").click()
    opened.ended(1)
    expect(opened.cell(1).locator("img[src^='data:image/svg+xml']")).to_have_count(2)
    expect(opened.output(1)).not_to_contain_text("simulated")
    assert opened.run(2).inner_text().split() == ["None", "None", "False"]
