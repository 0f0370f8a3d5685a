"""The same cells in a plain IPython terminal, under jupyter execute, nbclient, papermill, and in plain Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pexpect
import pytest

from tests.checks.sources import ROOT
from tests.e2e.kernel import OURS, clean_environ

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDGET = "application/vnd.jupyter.widget-view+json"

CELLS = [
    "%load_ext modal_gpu_magic",
    "%%modal_gpu H100\nimport sys\nprint('from there')\nprint('careful', file=sys.stderr)\nnumbers = [1, 2, 3]",
    "%%modal_gpu\nimport pandas as pd\ntable = pd.DataFrame({'n': numbers})\ntable",
    "%%modal_gpu\nimport matplotlib.pyplot as plt\nplt.plot(numbers);",
    "%%modal_gpu\nfrom tqdm import tqdm\nfrom tqdm.notebook import tqdm as widget\nfor n in widget(tqdm(numbers)): pass",
    "sum(table['n'])",
]


@contextlib.contextmanager
def made_home() -> Iterator[Path]:
    """An empty home."""
    path = Path(tempfile.mkdtemp(prefix="mgh-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)  # a server that ends removes its part of it at the same time


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of its own."""
    with made_home() as path:
        yield path


def notebook(cells: list[str], path: Path) -> Path:
    """A notebook of code cells, saved at `path`."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


def run(home: Path, *command: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """Run one of this environment's programs, with nobody at its standard input."""
    return subprocess.run(
        [sys.executable, *command],
        env=clean_environ(home),
        cwd=home / "work",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


NBCLIENT = """
import sys, nbformat, nbclient
book = nbformat.read(sys.argv[1], 4)
try:
    nbclient.NotebookClient(book, kernel_name="python3").execute()
finally:
    nbformat.write(book, sys.argv[2])
"""

COMMANDS = {
    "jupyter execute": ["-m", "jupyter", "execute", "in.ipynb", "--output=out"],
    "nbclient": ["-c", NBCLIENT, "in.ipynb", "out.ipynb"],
    "papermill": ["-m", "papermill", "--no-progress-bar", "in.ipynb", "out.ipynb"],
}


def outputs(path: Path) -> list[list[Any]]:
    """The outputs of each code cell of a saved notebook, less the cell that papermill adds to tell of an error."""
    cells = nbformat.read(path, 4).cells
    return [
        cell.outputs
        for cell in cells
        if cell.cell_type == "code" and "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]


@dataclass(frozen=True, slots=True)
class Runner:
    """One way to run a notebook without a person."""

    home: Path
    command: list[str]

    def __call__(self, cells: list[str]) -> tuple[subprocess.CompletedProcess[str], Path]:
        """Run a notebook of these cells; returns how that went, and where the result was saved."""
        notebook(cells, self.home / "work" / "in.ipynb")
        return run(self.home, *self.command), self.home / "work" / "out.ipynb"


@pytest.fixture(params=COMMANDS)
def runner(home: Path, request: pytest.FixtureRequest) -> Runner:
    """Each of them in turn."""
    (home / "work").mkdir()
    return Runner(home, COMMANDS[request.param])


class TestRunners:
    """A notebook run by a program: no front end can answer, and the file is what remains."""

    @pytest.mark.parametrize("runner", ["jupyter execute", "papermill"], indirect=True)
    def test_the_cells_work_and_are_saved_as_text_and_images(self, runner: Runner) -> None:
        done, saved = runner(CELLS)
        assert done.returncode == 0, done.stderr
        nbformat.validate(nbformat.read(saved, 4))
        cells = outputs(saved)
        texts = [json.dumps(cell) for cell in cells]
        assert "from there" in texts[1]
        assert "careful" in texts[1]
        assert "<table" in texts[2]
        assert "image/png" in texts[3]
        assert "3/3" in texts[4]
        assert '"text/plain": "6"' in texts[5]
        data = [output.get("data", {}) for cell in cells for output in cell]
        kinds = {mime for bundle in data for mime in bundle if not mime.startswith(("text/", "image/"))}
        assert kinds == {WIDGET}, "the cell's own bar"
        states = nbformat.read(saved, 4).metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
        assert {bundle[WIDGET]["model_id"] for bundle in data if WIDGET in bundle} <= states.keys()
        receipts = [output for cell in cells for output in cell if OURS in output.get("metadata", {})]
        assert len(receipts) >= 4, "one a remote cell"

    @pytest.mark.parametrize("runner", ["papermill"], indirect=True)
    def test_an_error_stops_the_run(self, runner: Runner) -> None:
        done, saved = runner([CELLS[0], "%%modal_gpu H100\nprint('before')\n1 / 0", "print('never')"])
        assert done.returncode != 0
        assert "ZeroDivisionError" in done.stderr + done.stdout
        assert not saved.exists() or "never" not in json.dumps(outputs(saved))

    @pytest.mark.parametrize("runner", ["nbclient"], indirect=True)
    def test_input_is_an_error_not_a_hang(self, runner: Runner) -> None:
        done, _ = runner([CELLS[0], "%%modal_gpu H100\nname = input('name? ')"])
        assert done.returncode != 0
        assert "input" in done.stderr + done.stdout

    @pytest.mark.parametrize("runner", ["nbclient"], indirect=True)
    def test_the_output_of_a_background_cell_is_saved_below_it(self, runner: Runner) -> None:
        picture = "import matplotlib.pyplot as plt\nprint('from there')\nplt.plot([1, 2]);"
        done, saved = runner([CELLS[0], f"%%modal_gpu H100 --bg train\n{picture}", "train.result()", "1"])
        assert done.returncode == 0, done.stderr
        (area,) = [output for output in outputs(saved)[1] if "done" in json.dumps(output)]
        assert "from there" in area.data["text/plain"]
        assert "done · H100" in area.data["text/plain"]
        assert "<img src" in area.data["text/html"]


COLUMNS = 80
"""Width of pexpect's terminal."""
PROMPT = r"In \[\d+\]: $"


@pytest.fixture(scope="module")
def terminal() -> Iterator[pexpect.spawn[str]]:
    """A plain IPython terminal with the extension loaded; one that cannot move its cursor. Its tests share a session."""
    with made_home() as home, in_terminal(home, "dumb") as child:
        yield child


@contextlib.contextmanager
def in_terminal(home: Path, kind: str) -> Iterator[pexpect.spawn[str]]:
    """A plain IPython terminal of that kind (`TERM`) with the extension loaded."""
    arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit", "--colors=NoColor"]
    child = pexpect.spawn(
        sys.executable,
        arguments,
        env={**clean_environ(home), "TERM": kind},
        cwd=str(home / "work"),
        encoding="utf-8",
        timeout=100,
        echo=False,
    )
    child.expect_exact("In [1]: ")
    child.sendline("%load_ext modal_gpu_magic")
    child.expect(PROMPT)
    yield child
    child.close(force=True)


def type_in(terminal: pexpect.spawn[str], source: str) -> None:
    """Type a cell; one with a cell magic ends with two blank lines."""
    for line in [*source.splitlines(), *(["", ""] if source.startswith("%%") else [])]:
        terminal.sendline(line)


def typed(terminal: pexpect.spawn[str], source: str) -> str:
    """What the terminal shows for one cell, up to its next prompt, less colours."""
    type_in(terminal, source)
    terminal.expect(PROMPT)
    return re.sub(r"\x1b\[[\d;]*m", "", str(terminal.before))


class TestTerminal:
    """IPython without a notebook."""

    def test_a_cell_prints_and_binds(self, terminal: pexpect.spawn[str]) -> None:
        shown = typed(terminal, "%%modal_gpu H100\nprint('from', 'there')\nx = 41")
        assert "from there" in shown
        assert "simulated" in shown, "the receipt"
        assert "42" in typed(terminal, "print(x + 1)")

    def test_the_last_expression(self, terminal: pexpect.spawn[str]) -> None:
        assert "42" in typed(terminal, "%%modal_gpu H100\n40 + 2")
        assert "43" in typed(terminal, "_ + 1")

    def test_an_error_is_shown_with_its_traceback(self, terminal: pexpect.spawn[str]) -> None:
        shown = typed(terminal, "%%modal_gpu H100\nvalue = 0\n1 / value")
        assert "ZeroDivisionError: division by zero" in shown
        assert "1 / value" in shown

    def test_the_receipt_is_below_the_output_and_broken_between_facts(self, terminal: pexpect.spawn[str]) -> None:
        for source, before, outcome in (("print('o' + 'ut')", "out", "done"), ("1 / 0", "division by zero", "failed")):
            shown = typed(terminal, f"%%modal_gpu H100 A100-80GB\n{source}").replace("\r", "")
            output, receipt = shown.split(f"{outcome} · H100 simulated on this CPU · ")
            assert before in output
            lines = receipt.strip().split("\n")
            assert len(lines) > 1
            assert max(map(len, lines)) <= COLUMNS
            assert all(line.endswith(" ·") for line in lines[:-1]), lines

    def test_the_gpus_are_seen_while_the_cell_runs(self, home: Path) -> None:
        with in_terminal(home, "xterm") as terminal:
            waits = f"while not os.path.exists({str(home / 'seen')!r}): time.sleep(0.01)"
            type_in(terminal, f"%%modal_gpu H100:2\nimport os, time\n{waits}\nprint('af' + 'ter')")
            terminal.expect_exact("running on H100:2")
            terminal.expect(r"GPU 1\s+\d+ %")
            (home / "seen").touch()
            terminal.expect_exact("after")
            terminal.expect(PROMPT)
            assert "simulated" in str(terminal.before), "the receipt"

    def test_control_c_stops_the_cell(self, terminal: pexpect.spawn[str]) -> None:
        typed(terminal, "%%modal_gpu H100\nimport time\nreached = 1")
        type_in(terminal, "%%modal_gpu\nprint('read' + 'y', flush=True)\ntime.sleep(600)")
        terminal.expect_exact("ready")
        terminal.sendintr()
        terminal.expect(PROMPT, timeout=60)
        assert "KeyboardInterrupt" in str(terminal.before)
        assert "1" in typed(terminal, "print(reached)")

    def test_input_is_asked_in_the_terminal(self, terminal: pexpect.spawn[str]) -> None:
        type_in(terminal, "%%modal_gpu H100\nprint('hello', input('your ' + 'name? '))")
        terminal.expect_exact("your name? ")
        terminal.sendline("Ada")
        terminal.expect(PROMPT)
        assert "hello Ada" in str(terminal.before)


PLAIN = """
from modal_gpu_magic import Session
session = Session("H100")
print(session.run("x = 20\\nx + 1") * 2)
try:
    session.run("1 / 0")
except ZeroDivisionError as error:
    print(error)
session.stop()
"""


def test_plain_python(home: Path) -> None:
    done = run(home, "-c", PLAIN)
    assert done.stdout == "42\ndivision by zero\n", done.stderr


NUMBER = re.compile(r"\d[\d.,]*")


def shown(path: Path) -> list[tuple[list[str], list[list[str]]]]:
    """What the cells of a notebook's file show: lines of text, and kinds of each display.

    Less what differs from run to run: numbers, the order of lines of several ranks, the magic's own words.
    """
    return [
        (
            sorted(NUMBER.sub("#", "".join(output.get("text", "") for output in cell)).splitlines()),
            [sorted(output.data) for output in cell if "data" in output and OURS not in output.metadata],
        )
        for cell in outputs(path)
    ]


@pytest.mark.timeout(360)
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_of_ours_runs_and_shows_what_its_file_shows(home: Path, path: Path) -> None:
    """The file carries the outputs of a real run, made by `notebooks/run.py --save`, so that GitHub shows them."""
    saved = home / "saved.ipynb"
    done = run(home, str(ROOT / "notebooks" / "run.py"), str(path), f"--save={saved}", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "simulated" in done.stdout, "a receipt"
    assert "Warning" not in done.stdout + done.stderr
    assert shown(path) == shown(saved), "run `python notebooks/run.py NOTEBOOK --save`"
    nbformat.validate(nbformat.read(path, 4))


def test_the_lab_prints_its_address_and_hides_its_log(home: Path) -> None:
    script, book = ROOT / "notebooks" / "lab.py", ROOT / "notebooks" / "01-first-cell.ipynb"
    lab = pexpect.spawn(
        sys.executable,
        [str(script), str(book), "--no-browser", "--port=0"],
        env={**clean_environ(home), "PYTHONPATH": str(ROOT)},
        cwd=str(home),
        encoding="utf-8",
        timeout=90,
    )
    lab.expect(r"JupyterLab: (http\S+)\s+Stop with Ctrl\+C\. Log: \S+lab\.log")
    assert not str(lab.before).strip()
    with urllib.request.urlopen(str(lab.match.group(1)), timeout=30) as page:
        assert page.status == 200
        assert "01-first-cell.ipynb" in page.url
    lab.sendintr()
    lab.expect(pexpect.EOF)
    assert str(lab.before).strip() in ("", "^C")
    lab.close()
    assert lab.exitstatus == 0


def test_the_demo_ends_with_the_next_step() -> None:
    """What `make demo` would run: its last commands print what to do next."""
    command = ["make", "--no-print-directory", "--dry-run", "demo"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    said = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout
    *_, last = said.strip().splitlines()
    assert "make lab" in said
    assert "modal setup" in last


def test_a_notebook_that_fails_fails_the_run(home: Path) -> None:
    book = notebook(["print('before')\n1 / 0", "print('never')"], home / "bad.ipynb")
    done = run(home, str(ROOT / "notebooks" / "run.py"), str(book))
    assert done.returncode == 1
    assert "before" in done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "never" not in done.stdout.replace("print('never')", "")
