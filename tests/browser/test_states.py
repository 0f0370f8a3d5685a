"""The states of a run as the dashboard and the picker's strip say them, each in the run that has it, in both themes."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import rate
from modal_gpu_magic.plan.machine.recommend import per_hour
from tests.e2e.slow_package import slow_package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator

    from tests.browser.lab import Notebook

LOAD = "%load_ext modal_gpu_magic"
PICKER = f"{LOAD}\npicker = %modal_gpu picker H100:2,A100-80GB:2\npicker"
UNTIL = """%%modal_gpu {line}
import os, time
end = time.monotonic() + 300
while not os.path.exists({path!r}) and time.monotonic() < end:
    time.sleep(0.1)
{last}"""
"""A cell that runs until the test makes the file."""
pytestmark = pytest.mark.timeout(300)
IDLE = r"idle until \d\d:\d\d \S+ at the latest"
UNLIMITED = """\
from modal_gpu_magic.session.run import lifecycle
limits = {life: lifecycle.LIMITS[life] for life in (lifecycle.Life.INTERRUPTED, lifecycle.Life.CANCELLED)}
lifecycle.LIMITS.update(dict.fromkeys(limits, ()))
picker"""
"""Lets a stopped cell go on for longer than 30 s: on a busy machine, a look at the page takes its time."""
LIMITED = "lifecycle.LIMITS.update(limits)"
THEMES = ("JupyterLab Light", "JupyterLab Dark")

PREEMPT = """
import os, threading, time
from modal_gpu_magic.sdk.client import connect

def take_away(path):
    from modal._utils.async_utils import synchronizer
    from modal_proto import api_pb2
    while not os.path.exists(path):
        time.sleep(0.1)
    client = synchronizer._translate_in(connect("local").client)
    request = api_pb2.ContainerStopRequest(task_id=open(path).read())
    async def ask():
        await client._stub.ContainerStop(request)
    synchronizer.create_blocking(ask)()

threading.Thread(target=take_away, args=({path!r},), daemon=True).start()
"""
"""`modal container stop` from beside the cell: what runs there is run again in another container, as at a preemption."""
TAKEN = """%%modal_gpu H100:2 A100-80GB:2 {how}
import os, time
first = not os.path.exists({path!r})
if first:
    while not os.path.exists({path!r} + "-seen"):
        time.sleep(0.1)
    with open({path!r} + "~", "w") as file:
        file.write(os.environ["MODAL_TASK_ID"])
    os.rename({path!r} + "~", {path!r})
end = time.monotonic() + 300
while not os.path.exists({path!r} + "-enough") and time.monotonic() < end:
    time.sleep(0.1)
print("the first" if first else "the second")
"""


def dashboard(notebook: Notebook, cell: int) -> Locator:
    """The dashboard in a cell, once it is there."""
    shown = notebook.cell(cell).get_by_role("region", name="GPU dashboard")
    expect(shown).to_be_visible(timeout=90_000)
    return shown


def card(notebook: Notebook, cell: int) -> Locator:
    """The line of a cell's receipt."""
    return notebook.output(cell).locator("summary").last


def strip(notebook: Notebook) -> Locator:
    return notebook.cell(0).get_by_role("region", name="Session")


def moves(state: Locator, words: str) -> None:
    """It says these words and a clock that goes on from second to second, not by leaps."""
    clock = re.compile(rf"^{re.escape(words)} (\d+):(\d\d)$")
    expect(state).to_have_text(clock, timeout=60_000)
    seen: set[int] = set()
    end = time.monotonic() + 60
    while not any({second, second + 1, second + 2} <= seen for second in seen):
        found = clock.match(state.inner_text())
        assert found, state.inner_text()
        assert time.monotonic() < end, seen
        seen.add(60 * int(found[1]) + int(found[2]))
        state.page.wait_for_timeout(100)


def readable(notebook: Notebook, serious: Callable[[str], list[Any]], selector: str) -> None:
    """Nothing serious is in the way of anybody, in both themes."""
    for theme in THEMES:
        notebook.theme(theme)
        assert serious(selector) == []


def test_building_an_image(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    # The first test of this kernel: its control plane has the environment in which it was started.
    links = f"import os\nos.environ['PIP_FIND_LINKS'] = {slow_package(tmp_path)!r}"
    opened = notebook(PICKER, links, "%%modal_gpu H100:2 --session slow --pip mg-slow\nprint('never')")
    opened.run(0)
    opened.run(1)
    opened.start(2)
    shown = dashboard(opened, 2)
    moves(shown.locator(".mgs-state"), "building image")
    expect(shown.get_by_text("The image: torch with mg-slow. Built once, then cached.")).to_be_visible()
    expect(shown.locator(".mgs-money")).to_have_text("free (≈ $0.00 on Modal)")
    expect(strip(opened).locator(".mgs-state")).to_contain_text("building image 0:")
    readable(opened, serious, ".mgd")
    shown.get_by_role("button", name="Stop").click()
    opened.ended(2)
    expect(shown).to_have_count(0)
    expect(opened.output(2)).to_contain_text("stopped · H100:2 · before the cell ran")
    assert "never" not in opened.text(2).replace("print('never')", "")
    expect(strip(opened).locator(".mgs-state")).to_contain_text("the last cell was stopped")


def test_running_and_done_and_idle(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    opened = notebook(PICKER, UNTIL.format(line="H100:2 A100-80GB:2", path=str(enough), last=""))
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    moves(shown.locator(".mgs-state"), "running on H100:2")
    expect(shown.locator(".mgs-title")).to_have_text("H100:2 A100-80GB:2")
    expect(strip(opened).locator(".mgs-state")).to_contain_text("running 0:")
    readable(opened, serious, ".mgd")
    canvas = "plot => [plot.clientWidth, plot.querySelector('.uplot').clientWidth]"
    wide, drawn = shown.locator(".mgd-plot").evaluate(canvas)
    assert wide == drawn, "the chart has its width again after a change of theme"
    enough.touch()
    opened.ended(1)
    expect(card(opened, 1)).to_have_text(re.compile(rf"^done · H100:2 .* · {IDLE}$"))
    idle = strip(opened).locator(".mgs-state")
    expect(idle).to_have_text(re.compile(r"^idle, ends in \d:\d\d$"))
    left = idle.inner_text()
    expect(idle).not_to_have_text(left)
    expect(strip(opened).locator(".mgs-money")).to_have_text(
        re.compile(r"^free \(≈ \$\d\.\d\d/h on Modal, \$\d\.\d\d so far\)$")
    )
    expect(strip(opened).locator(".mgs-title")).to_have_text("H100:2")
    readable(opened, serious, ".mgs")


def test_a_failure_and_the_idle_time_before_it_are_told(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    opened = notebook(PICKER, UNTIL.format(line="", path=str(enough), last="1 / 0"))
    opened.run(0)
    opened.start(1)
    money = dashboard(opened, 1).locator(".mgs-money")
    expect(money).to_have_text(re.compile(r"^free \(≈ \S+ on Modal\) · session \$\d\.\d\d with idle$"))
    enough.touch()
    opened.ended(1)
    expect(card(opened, 1)).to_have_text(re.compile(rf"^failed · H100:2 .* · {IDLE}$"))
    expect(strip(opened).locator(".mgs-state")).to_contain_text("the last cell failed")
    readable(opened, serious, ".mgs")
    strip(opened).get_by_role("button", name="Stop").click()
    expect(strip(opened).locator(".mgs-state")).to_have_text("ended, the last cell failed", timeout=60_000)


def test_stopping_and_stopped(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    """A cell that takes its time to stop."""
    enough = tmp_path / "enough"
    source = (
        "import os, time\ntry: time.sleep(600)\nfinally:\n    end = time.monotonic() + 200\n"
        f"    while not os.path.exists({str(enough)!r}) and time.monotonic() < end: time.sleep(0.05)"
    )
    opened = notebook(f"{PICKER}\n{UNLIMITED}", f"%%modal_gpu H100:2 A100-80GB:2\n{source}", LIMITED)
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    expect(shown.locator(".mgs-state")).to_contain_text("running on", timeout=60_000)
    shown.get_by_role("button", name="Stop").click()
    moves(shown.locator(".mgs-state"), "stopping on H100:2")
    expect(strip(opened).locator(".mgs-state")).to_contain_text("stopping 0:")
    assert serious(".mgd") == []
    enough.touch()
    opened.ended(1)
    opened.run(2)
    expect(card(opened, 1)).to_have_text(re.compile(rf"^stopped · H100:2 .* · {IDLE}$"))
    expect(strip(opened).locator(".mgs-state")).to_contain_text("the last cell was stopped")


@pytest.mark.parametrize("how", ["", "--clean"], ids=["by what was sent from here", "by itself"])
def test_restarted_by_modal(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path, how: str
) -> None:
    """A cell that relies on nothing that was sent before is run again by Modal; any other is sent again."""
    path = str(tmp_path / "task")
    opened = notebook(PICKER, PREEMPT.format(path=path), TAKEN.format(path=path, how=how))
    opened.run(0)
    opened.run(1)
    opened.start(2)
    shown = dashboard(opened, 2)
    expect(shown.locator(".mgs-state")).to_have_text(re.compile(r"^running on H100:2 \d+:\d\d"), timeout=60_000)
    (tmp_path / "task-seen").touch()
    moves(shown.locator(".mgs-state"), "restarted by Modal, running on H100:2")
    expect(shown.get_by_text(re.compile(r"It began again at \d\d:\d\d, from its first line"))).to_be_visible()
    expect(shown.get_by_role("list", name="Notices")).to_contain_text("The container was replaced")
    expect(strip(opened).locator(".mgs-state")).to_have_text(re.compile(r"restarted by Modal, running \d+:\d\d"))
    readable(opened, serious, ".mgd")
    (tmp_path / "task-enough").touch()
    opened.ended(2)
    assert "the second" in opened.text(2)
    expect(card(opened, 2)).to_contain_text("done · ")


@pytest.mark.timeout(300)
def test_a_cluster_is_drawn_by_node_and_its_ranks_have_tabs(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    source = (
        "import os, time\n"
        "print('rank', os.environ['RANK'], 'begins', flush=True)\n"
        f"end = time.monotonic() + 250\nwhile not os.path.exists({str(enough)!r}) and time.monotonic() < end:\n"
        "    time.sleep(0.1)\n"
        "print('rank', os.environ['RANK'], 'ends', flush=True)"
    )
    opened = notebook(LOAD, f"%%modal_gpu H100:8 --nodes 2 --torchrun 1 --ranks all\n{source}")
    opened.run(0)
    opened.start(1)
    shown = dashboard(opened, 1)
    expect(shown.locator(".mgs-state")).to_contain_text("running on 2 x H100:8", timeout=120_000)
    expect(shown.locator(".mgs-title")).to_have_text("2 x H100:8")
    for node in ("node 0", "node 1"):
        expect(shown.get_by_role("listitem", name=node)).to_be_visible(timeout=60_000)
    expect(shown.locator(".mgn-cell")).to_have_count(2)
    tab = opened.cell(1).get_by_role("tab", name="rank 1")
    expect(tab).to_be_visible(timeout=60_000)
    expect(opened.cell(1).get_by_text("rank 1 begins")).to_be_visible(timeout=60_000)
    readable(opened, serious, ".mgd")
    enough.touch()
    text = opened.ended(1).inner_text()
    expect(card(opened, 1)).to_contain_text("done · 2 x H100:8 simulated on this CPU · ")
    assert "rank 0 ends" in text
    expect(tab).to_have_count(0)
    summary = opened.cell(1).locator("details > summary").filter(has_text="rank 1")
    expect(summary).to_have_text("rank 1 · rank 1 ends")
    expect(opened.cell(1).locator("details[open] pre")).to_have_text("rank 1 begins\nrank 1 ends\n")
    own = opened.cell(1).get_by_text("rank 0 ends").last.bounding_box()
    below = summary.bounding_box()
    assert own is not None
    assert below is not None
    assert below["y"] > own["y"]
    assert serious(".jp-Cell-outputArea") == []


def test_the_price_of_each_fallback_is_in_the_picker(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(PICKER.replace("A100-80GB:2", "A100-80GB:2,L4"))
    opened.run(0)
    fallbacks = opened.cell(0).get_by_role("list", name="Fallbacks, in order").get_by_role("listitem")
    expect(fallbacks).to_have_count(2)
    for place, spec in enumerate(("A100-80GB:2", "L4")):
        expect(fallbacks.nth(place)).to_contain_text(f"{spec} {rate(per_hour(GpuSpec.parse(spec)))}")
