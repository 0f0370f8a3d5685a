"""A remote cell that changes the working directory changes the notebook's too, as one process has one directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import Kernel

T4 = "T4"
STAYS = "the notebook stays in its own directory"


@pytest.fixture
def home(kernel: Kernel) -> str:
    """The kernel's first directory, to which it goes back; there are `near/deep` and `data` beside it."""
    made = kernel.run(
        "import os\n"
        "home = globals().get('home') or os.getcwd()\n"
        "os.chdir(home)\n"
        "for each in ('near/deep', '../data'): os.makedirs(each, exist_ok=True)\n"
        "_ = open('near/here.txt', 'w').write('near')"
    )
    assert made.ok, made.traceback
    return kernel.print("home")


def here(kernel: Kernel) -> str:
    """The kernel's directory, from its first one."""
    return kernel.print("os.path.relpath(os.getcwd(), home)")


def both(kernel: Kernel) -> str:
    """The kernel's directory, which the container's agrees with."""
    there = kernel.remote("import os\nprint(os.path.basename(os.getcwd()), end='')", T4).stdout
    assert there == kernel.print("os.path.basename(os.getcwd())")
    return here(kernel)


@pytest.mark.parametrize(
    "source, then",
    [
        ("import os\nos.chdir('near')", "near"),
        ("%cd near", "near"),
        ("import os\nos.chdir('near/deep')\nos.chdir('..')", "near"),
        ("import os\nos.chdir('../data')", "../data"),
        ("import os\nos.chdir('..')", ".."),
        ("import os\nfor step in ('near', 'deep'):\n    os.chdir(step)", "near/deep"),
        ("import os\nos.chdir('near')\n1 / 0", "near"),
        ("import contextlib\nwith contextlib.chdir('near'):\n    pass", "."),
        ("import os\nback = os.getcwd()\nos.chdir('near')\nos.chdir(back)", "."),
    ],
)
def test_the_notebook_follows(kernel: Kernel, home: str, source: str, then: str) -> None:
    if "contextlib.chdir" in source and kernel.print("__import__('sys').version_info < (3, 11)") == "True":
        source = source.replace("contextlib.chdir('near')", "contextlib.nullcontext()")
    kernel.remote(f"import os\n_ = [os.listdir(each) for each in ('near', 'near/deep', '../data')]\n{source}", T4)
    assert here(kernel) == then


def test_both_sides_stay_together_over_many_cells(kernel: Kernel, home: str) -> None:
    assert both(kernel) == "."
    assert kernel.remote("os.chdir('near')", T4).ok
    assert kernel.print("open('here.txt').read()") == "near"
    assert kernel.remote("open('here.txt').read()", T4).value() == "'near'"
    assert both(kernel) == "near"
    kernel.run("os.chdir('deep')")
    assert both(kernel) == "near/deep"
    assert kernel.remote("os.chdir('../..')", T4).ok
    assert both(kernel) == "."
    kernel.run("%modal_gpu stop")
    assert kernel.remote("import os\nos.chdir('near')\nos.listdir('.')", T4).ok
    kernel.run("%modal_gpu stop")
    assert both(kernel) == "near", "a new container begins where the notebook is"


def test_a_directory_that_the_container_alone_has(kernel: Kernel, home: str) -> None:
    cases: dict[str, Callable[[str], bool]] = {
        "os.makedirs('made', exist_ok=True)\nos.chdir('made')": lambda said: "`made`" in said,
        "os.chdir('/usr')": lambda said: "`/usr`" in said,
    }
    for source, names in cases.items():
        moved = kernel.remote(f"import os\n{source}", T4)
        assert moved.ok, moved.traceback
        assert moved.said.count(STAYS) == 1
        assert names(moved.said), moved.said
        assert here(kernel) == "."
        again = kernel.remote("os.path.basename(os.getcwd())", T4)
        assert again.value() in ("'made'", "'usr'")
        assert STAYS not in again.said
        kernel.run("%modal_gpu stop")


@pytest.mark.parametrize("moves, then", [(False, "near"), (True, "../data")], ids=["it stayed", "it moved"])
def test_a_background_cell_does_not_move_a_notebook_that_has_moved_since(
    kernel: Kernel, home: str, tmp_path: Path, moves: bool, then: str
) -> None:
    kernel.run("came = 0")
    go = tmp_path / "go"
    sent = kernel.remote(
        "import os, time\n_ = os.listdir('near')\nos.chdir('near')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\ncame = 1",
        "T4 --bg b",
    )
    assert sent.ok, sent.traceback
    if moves:
        assert kernel.run("os.chdir('../data')").ok
    go.touch()
    wait_until(lambda: kernel.print("came") == "1")
    assert here(kernel) == then
