"""Live and stopped while the cell blocks the kernel, on the ipykernels that differ in how they hear a widget then."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import TimeoutError as Late
from playwright.sync_api import expect

from tests.browser.lab import CELL_MS, Lab, Notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import BrowserContext, Locator

LEAVE_UNREAD = ("7.3.0", "7.2.0", "7.0.1")
"""Versions that may leave a request unread until the next one comes (the subshell_manager of 7.4 says how)."""
HEARS = {"7.4.0": True, "7.3.0": True, "7.2.0": True, "7.0.1": True, "6.30.1": False}
"""Versions of ipykernel, and whether a message reaches one while a cell runs: subshells bring it there since 7."""
TELL = "%load_ext modal_gpu_magic\nimport ipykernel\nprint(ipykernel.__version__)"
BLOCK = """\
%%modal_gpu H100
import os, time
pid = os.getpid()
def hold(step):
    held = b'x' * ((step % 4 + 1) << 26)
    time.sleep(0.5)
for step in range(200):
    hold(step)"""
SURVIVED = "%%modal_gpu\nimport os\nprint(step < 199, pid == os.getpid())"
pytestmark = pytest.mark.timeout(300)
INTERRUPT = re.compile(r"/api/kernels/[^/]+/interrupt")


def installed(version: str) -> Path:
    """The folder of an ipykernel of that version, which is installed once in this environment."""
    folder = Path(sys.prefix, "ipykernels", version)
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        with tempfile.TemporaryDirectory(dir=folder.parent) as half:
            # nest-asyncio: what ipykernel before 7.3 needs beyond what the newest one brings.
            subprocess.run([*pip, "--target", f"{half}/whole", f"ipykernel=={version}", "nest-asyncio"], check=True)
            Path(half, "whole").rename(folder)
    return folder


@pytest.fixture(scope="module")
def book(lab: Lab, context: BrowserContext) -> Iterator[Notebook]:
    """A notebook of a server that offers each version as a kernel."""
    for version in HEARS:
        lab.add_kernel(version, installed(version))
    notebook = Notebook(context.new_page(), lab.address(lab.write("kernels.ipynb", [""] * 3, next(iter(HEARS)))))
    yield notebook
    notebook.end()
    notebook.page.close()


@pytest.fixture(scope="module", params=HEARS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared(book: Notebook, version: str) -> Notebook:
    """The notebook with a kernel of that version. One that has left the first request unread is started anew."""
    for _ in range(3):
        book.change_kernel(version)
        book.may_leave_unread = version in LEAVE_UNREAD
        book.fill([TELL])
        book.start(0)
        with contextlib.suppress(Late):
            book.page.wait_for_function("window.ran[0]", timeout=20_000)
            break
    return book


@pytest.fixture
def interrupts(shared: Notebook, version: str) -> Iterator[list[str]]:
    """The interrupts that the page asks for. Where the kernel hears messages they come to nothing: it must do without."""
    asked: list[str] = []
    shared.page.on("request", lambda request: asked.append(request.url) if INTERRUPT.search(request.url) else None)
    if HEARS[version]:
        shared.page.route(INTERRUPT, lambda route: route.fulfill(status=204))
    yield asked
    shared.page.unroute_all()


def stopped(notebook: Notebook, cell: int, where: Locator) -> None:
    """Press that Stop, once the GPU is seen and its numbers have moved; the cell ends, its values survive."""
    gpu = where.get_by_role("listitem", name="GPU 0")
    expect(gpu).to_be_visible(timeout=CELL_MS)
    said = gpu.inner_text()
    expect(gpu).not_to_have_text(said, timeout=60_000, use_inner_text=True)
    where.get_by_role("button", name="Stop").click()
    assert "KeyboardInterrupt" in notebook.ended(cell).inner_text()
    assert "True True" in notebook.run(cell + 1).inner_text().splitlines()


def test_the_dashboard_is_live_and_stops_the_cell(
    notebook: Callable[..., Notebook], version: str, interrupts: list[str]
) -> None:
    opened = notebook(TELL, BLOCK, SURVIVED)
    assert opened.run(0).inner_text().split()[-1] == version
    opened.start(1)
    stopped(opened, 1, opened.cell(1).get_by_role("region", name="GPU dashboard"))
    assert HEARS[version] or len(interrupts) == 1


def test_the_picker_s_strip_is_live_and_stops_the_cell_alone(
    notebook: Callable[..., Notebook], version: str, interrupts: list[str]
) -> None:
    """The session goes on: also where the message is heard when its cell has ended."""
    opened = notebook("%load_ext modal_gpu_magic\n%modal_gpu", BLOCK, SURVIVED)
    opened.run(0)
    strip = opened.cell(0).get_by_role("region", name="Session")
    opened.start(1)
    expect(strip.get_by_text(re.compile(r"running \d+:\d\d"))).to_be_visible(timeout=CELL_MS)
    stopped(opened, 1, strip)
    expect(strip.get_by_text("idle, ends in")).to_be_visible()
    assert HEARS[version] or len(interrupts) == 1
