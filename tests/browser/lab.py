"""A real JupyterLab in a real Chromium, as tests drive it. Rules that made it robust: reference of notebook front ends.

A cell's end is the promise of the command that ran it; the kernel's `idle` says nothing while widgets use subshells.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nbformat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from playwright.sync_api import Locator, Page
    from typing_extensions import Self

ROOT: Final = Path(__file__).parents[2]
CHROMIUM: Final = "/usr/bin/chromium"
CHROMIUM_FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SETTINGS: Final = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}
"""Settings that keep every dialog away and every cell in the page."""
START_SECONDS: Final = 90.0
CELL_MS: Final = 90_000

READY: Final = """async () => {
  const panel = window.jupyterapp?.shell?.currentWidget;
  if (!panel?.sessionContext) return false;
  await panel.context.ready;
  await panel.sessionContext.ready;
  const kernel = panel.sessionContext.session?.kernel;
  if (!kernel) return false;
  await kernel.info;
  return kernel.connectionStatus === 'connected' && kernel.status === 'idle';
}"""
RUN: Final = """index => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  notebook.deselectAll();
  notebook.mode = 'command';
  window.ran = window.ran || {};
  window.ran[index] = false;
  const done = () => { window.ran[index] = true; };
  window.jupyterapp.commands.execute('notebook:run-cell').then(done, done);
}"""


@dataclass
class Lab:
    """A started JupyterLab with nothing of the user's. `folder` is what it serves, `home` its own files."""

    folder: Path
    home: Path
    environ: dict[str, str] = field(default_factory=dict)
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    def __enter__(self) -> Self:
        self.port = self.port or _free_port()
        for name, value in SETTINGS.items():
            place = self.home / "settings" / f"{name}.jupyterlab-settings"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(value))
        self._log = (self.home / "server.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *self._flags()],
            env=self._environ(),
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            try:
                self._process.wait(20)
                break
            except subprocess.TimeoutExpired:
                continue
        self._log.close()

    def write(self, name: str, cells: Sequence[str], kernel: str = "python3") -> str:
        """Put a notebook of code cells where the server sees it."""
        notebook: Any = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
        )
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(notebook, self.folder / name)
        return name

    def add_kernel(self, name: str, before: Path) -> str:
        """A kernel of this environment that finds the packages in a folder before its own; returns its name."""
        place = self.home / "data" / "kernels" / name
        place.mkdir(parents=True)
        start = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        environ = {"PYTHONPATH": f"{before}:{ROOT}"}
        spec = {"argv": start, "display_name": name, "language": "python", "env": environ}
        (place / "kernel.json").write_text(json.dumps(spec))
        return name

    def address(self, name: str, front: str = "lab/tree") -> str:
        """Where a notebook is opened, in a workspace of its own. Other fronts: `notebooks`, `nbclassic/notebooks`."""
        return f"http://127.0.0.1:{self.port}/{front}/{name}?token={self.token}&reset"

    def _flags(self) -> list[str]:
        return [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.folder}",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",  # the other one asks npm, yarn and PyPI at every start
            "--expose-app-in-browser",
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]

    def _environ(self) -> dict[str, str]:
        places = {
            "HOME": self.home,
            "JUPYTER_CONFIG_DIR": self.home / "config",
            "JUPYTER_DATA_DIR": self.home / "data",
            "JUPYTER_RUNTIME_DIR": self.home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": self.home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": self.home / "workspaces",
            "IPYTHONDIR": self.home / "ipython",
            "PYTHONPATH": ROOT,
        }
        foreign = ("MODAL_", "JUPYTER")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return {**ours, **{key: str(value) for key, value in places.items()}, **self.environ}

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError((self.home / "server.log").read_text())
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api?token={self.token}", timeout=5).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
        return True


SETTLE: Final = """argument => {{
  window.settled = null;
  const settle = error => {{ window.settled = {{ error }}; }};
  const script = {};
  Promise.resolve(typeof script === 'function' ? script(argument) : script)
    .then(() => settle(''), error => settle(String(error)));
}}"""
END: Final = """async () => {
  for (;;) {
    try {
      return await window.jupyterapp.shell.currentWidget?.sessionContext.shutdown();
    } catch (error) {  // the server's, while it restarts a kernel that was killed
      if (!String(error).includes('Unhandled error')) throw error;
      await new Promise(resolve => setTimeout(resolve, 200));
    }
  }
}"""
OPEN: Final = """async path => {
  const panel = await window.jupyterapp.commands.execute('docmanager:open', { path, factory: 'Notebook' });
  await panel.revealed;
}"""
SOURCE: Final = "index => window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells[index].getSource()"
BEGUN: Final = """index => window.ran[index]
  || window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"""
ASK: Final = """() => {
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestKernelInfo().catch(() => undefined);
}"""
MOST_ASKED: Final = 6
"""How often the kernel is asked for its facts before a cell counts as not begun."""
ASK_MS: Final = 4_000
"""Milliseconds between two such questions."""
RESTART: Final = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
FILL: Final = """cells => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.widgets.forEach((cell, index) => {
    cell.model.sharedModel.setSource(cells[index] ?? '');
    cell.model.clearExecution?.();
    cell.outputArea?.model.clear();
  });
}"""


class Notebook:
    """A notebook open in a page, driven through JupyterLab's own commands."""

    PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
    CELL, OUTPUT = ".jp-Cell.jp-CodeCell", ".jp-Cell-outputArea"
    OWN_ERRORS: frozenset[str] = frozenset(
        {"TypeError: Cannot read properties of null (reading 'processLuminoMessage')"}
    )
    """How errors begin that the front end's console shows whatever a notebook does.

    ipywidgets 8 passes a message to the view of a widget that has just been disposed of (1 in 11,000 tests).
    """
    may_leave_unread = False
    """Whether the kernel may leave a request unread until the next one comes: ipykernel 7 before 7.4."""
    READY, FILL, RUN, END, SOURCE, RESTART = READY, FILL, RUN, END, SOURCE, RESTART
    """Scripts of the page: whether the page is ready, put sources into the cells, run a cell and set `ran` of the cell,
    end the kernel, return the source of a cell, restart the kernel."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        page.goto(address)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Until the kernel is connected. A page whose kernel never answers is loaded anew, once (seen 1 in 40)."""
        from playwright.sync_api import TimeoutError as Late

        self.page.wait_for_selector(self.PANEL, timeout=CELL_MS)
        try:
            self.page.wait_for_function(self.READY, timeout=40_000)
        except Late:
            self.page.reload()
            self.page.wait_for_function(self.READY, timeout=CELL_MS)

    def settle(self, script: str, argument: Any = None) -> None:
        """Run a script to the end of its promise, within a cell's time: Playwright's `evaluate` waits for ever."""
        self.page.evaluate(SETTLE.format(script), argument)
        self.page.wait_for_function("window.settled !== null", timeout=CELL_MS)
        error = self.page.evaluate("window.settled.error")
        assert not error, error

    def change_kernel(self, name: str) -> None:
        """Go on with another kernel; the one before ends."""
        change = "name => window.jupyterapp.shell.currentWidget.sessionContext.changeKernel({name})"
        self.settle(change, name)
        self.page.wait_for_function(self.READY, timeout=CELL_MS)

    def settles(self, holds: Callable[[], bool]) -> None:
        """Wait until a condition holds for what the page shows."""
        end = time.monotonic() + CELL_MS / 1000
        while not holds():
            assert time.monotonic() < end
            self.page.wait_for_timeout(50)

    def fill(self, cells: Sequence[str]) -> None:
        """Put these sources into the cells, and take every output away."""
        self.page.evaluate(self.FILL, list(cells))

    def cell(self, index: int) -> Locator:
        """The code cell of that number, from 0."""
        return self.page.locator(f"{self.PANEL} {self.CELL}").nth(index)

    def output(self, index: int) -> Locator:
        """The output area of a cell."""
        return self.cell(index).locator(self.OUTPUT)

    def start(self, index: int) -> None:
        """Run a cell and do not wait for it."""
        self.page.evaluate(self.RUN, index)
        if self.may_leave_unread:
            self._ask_until_begun(index)

    def _ask_until_begun(self, index: int) -> None:
        """Send requests until a cell has begun: one that the kernel has left unread is read together with them."""
        from playwright.sync_api import TimeoutError as Late

        for _ in range(MOST_ASKED):
            with contextlib.suppress(Late):
                self.page.wait_for_function(BEGUN, arg=index, timeout=ASK_MS)
                return
            self.page.evaluate(ASK)

    def ended(self, index: int) -> Locator:
        """Wait until the cell has run; returns its output area."""
        self.page.wait_for_function("index => window.ran[index]", arg=index, timeout=CELL_MS)
        return self.output(index)

    def run(self, index: int) -> Locator:
        """Run a cell to its end; returns its output area."""
        self.start(index)
        return self.ended(index)

    def source(self, index: int) -> str:
        """The source of a cell."""
        return str(self.page.evaluate(self.SOURCE, index))

    def restart(self) -> None:
        """Restart the notebook's kernel."""
        self.settle(self.RESTART)
        self.page.wait_for_function(self.READY, timeout=CELL_MS)

    def text(self, index: int) -> str:
        """What a cell shows."""
        return str(self.output(index).inner_text())

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """One of JupyterLab's commands, to its end."""
        self.settle("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments or {}])

    def theme(self, name: str) -> None:
        """`JupyterLab Light` or `JupyterLab Dark`."""
        self.command("apputils:change-theme", {"theme": name})
        self.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")

    def save(self) -> None:
        """Write the notebook to its file."""
        self.command("docmanager:save")

    def end(self) -> None:
        """End the notebook's kernel."""
        self.settle(self.END)


class Tab(Notebook):
    """A notebook in a page that others use after it: JupyterLab is loaded by the first one only."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        if page.url == "about:blank":
            super().__init__(page, lab.address(name))
            return
        self.page = page
        self.settle(OPEN, name)
        self.wait_until_ready()

    def close(self) -> None:
        """End the kernel and close the tab, whatever is not saved."""
        self.end()
        self.page.evaluate("window.jupyterapp.shell.currentWidget.dispose()")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
