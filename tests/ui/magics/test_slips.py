"""The common slips: each is typed into a real kernel, and ends in the sentence written below it in the tables.

`slips.txt` has the cells that are refused: nothing is started for any of them. `spoken.txt` has the cells that run, or
show the help.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modal_gpu_magic.session.run.hints import DISTRIBUTIONS
from tests.e2e.kernel import Kernel, Result
from tests.ui.shell import in_shell


def table(name: str) -> list[tuple[str, str]]:
    """The cells of a table with their sentences."""
    blocks = re.split(r"^=> (.*)\n\n?", Path(__file__).with_name(name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return list(zip(blocks[::2], blocks[1::2], strict=False))


REFUSED, SPOKEN = table("slips.txt"), table("spoken.txt")


def seen(result: Result) -> str:
    """Everything that a user sees of a cell, the pager's text included."""
    pages = [page["data"]["text/plain"] for page in result.reply.get("payload", ()) if "data" in page]
    return "\n".join((result.error, result.stdout, result.stderr, result.said, *pages))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.load()
        yield kernel


def test_there_are_enough() -> None:
    assert len({cell for cell, _ in REFUSED}) == len(REFUSED) >= 90
    assert len({cell for cell, _ in SPOKEN}) == len(SPOKEN) >= 15


@pytest.mark.parametrize("cell, sentence", REFUSED, ids=[cell for cell, _ in REFUSED])
def test_a_slip_is_refused_with_its_sentence(kernel: Kernel, cell: str, sentence: str) -> None:
    refused = kernel.run(cell)
    assert not refused.ok
    assert sentence in refused.error
    assert "Traceback" not in refused.traceback


def test_nothing_was_started_for_any_of_them(kernel: Kernel) -> None:
    """The tests of a file run in order, so the kernel has seen all of the above."""
    assert "No sessions" in kernel.run("%modal_gpu status").stdout
    assert "No name" in kernel.run("print('No name' if 'x' not in globals() else x)").stdout


@pytest.mark.parametrize("cell, sentence", SPOKEN, ids=[cell for cell, _ in SPOKEN])
def test_a_slip_that_runs_ends_in_its_sentence(kernel: Kernel, cell: str, sentence: str) -> None:
    assert sentence in seen(kernel.run(cell))


@pytest.mark.parametrize("module", ["cv2", "PIL", "sklearn", "yaml", "skimage", "dotenv", "serial", "docx"])
def test_a_module_has_the_name_of_its_package(module: str) -> None:
    assert DISTRIBUTIONS[module] != module


TERMINAL = """
run("%load_ext modal_gpu_magic")
for cell in ["%%modal_gpu H100", "x = 1\\n%%modal_gpu T4\\nx", "%%modal-gpu T4\\n1", "%%modal_gpu T4\\n%%modal_gpu L4\\n1"]:
    out[cell] = run(cell)
out["x"] = str("x" in shell.user_ns)
check = shell.input_transformer_manager.check_complete
out["complete"] = [check(text)[0] for text in ["%%modal_gpu H100", "%%modal_gpu H100\\n1", "x = 1\\n%%modal_gpu T4\\n"]]
text = 'text = \"\"\"\\n%%modal_gpu T4\\n\"\"\"'
out["text"] = run(text)
out["file"] = run("%%writefile cell.txt\\n%%modal_gpu T4\\n")
out["mine"] = run("from IPython.core.magic import register_cell_magic\\n@register_cell_magic\\ndef gpu(line, cell): print('mine')")
out["my own"] = run("%%gpu T4\\n1")
run("%unload_ext modal_gpu_magic")
out["unloaded"] = run("x = 1\\n%%modal_gpu T4\\nx")
"""


def test_a_terminal_says_the_same_and_leaves_other_text_alone(tmp_path: Path) -> None:
    said = in_shell(tmp_path, TERMINAL)
    assert "This cell has no code" in said["%%modal_gpu H100"][1]
    assert "is below code" in said["x = 1\n%%modal_gpu T4\nx"][1]
    assert said["x"] == "False"
    assert "No magic is called" in said["%%modal-gpu T4\n1"][1]
    assert "is the second header" in said["%%modal_gpu T4\n%%modal_gpu L4\n1"][1]
    assert said["complete"][:2] == ["incomplete", "incomplete"]
    assert said["text"][1] == said["file"][1] == said["mine"][1] == ""
    assert said["my own"] == ["mine\n", ""]
    assert said["unloaded"][1].startswith("UsageError")
