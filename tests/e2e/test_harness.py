"""The harness itself: two bare kernels show the same, and what differs is seen to differ."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.compare import SCRUBS, by_stream, shown
from tests.e2e.kernel import Kernel, Message, Result
from tests.scrub import scrub
from tests.soak.__main__ import WARM_CELLS, Size, growth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def other() -> Iterator[Kernel]:
    """A second bare kernel."""
    with Kernel() as kernel:
        yield kernel


CELLS = {
    "print": "print('a'); print('b', end='')",
    "stderr": "import sys\nprint('a', file=sys.stderr)",
    "address": "object()",
    "error": "def f():\n    return 1 / 0\nf()",
    "timeit": "%timeit -n10 -r2 sum(range(10))",
    "time": "%time sum(range(10))",
    "bar": "from tqdm import tqdm\nfor i in tqdm(range(3), mininterval=99): pass",
    "display id": "from IPython.display import display\nh = display('a', display_id=True)\nh.update('b')",
    "figure": "import matplotlib.pyplot as plt\nplt.plot([1, 2])",
    "warning": "import warnings\nwarnings.warn('careful')",
    "temporary file": "import tempfile\ntempfile.mkdtemp()",
}


@pytest.mark.parametrize("source", CELLS.values(), ids=CELLS.keys())
def test_two_bare_kernels_show_the_same(native: Kernel, other: Kernel, source: str) -> None:
    assert shown(native.run(source)) == shown(other.run(source))
    assert by_stream(native.run(source)) == by_stream(other.run(source))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("print(1)", "print(2)"),
        ("print(1)", "1"),
        ("1", "1;"),
        ("print(1)\n1/0", "print(1)\n\n1/0"),
        ("1/0", "raise ZeroDivisionError('division by zero')"),
        ("import sys\nprint(1)", "import sys\nprint(1, file=sys.stderr)"),
    ],
)
def test_what_differs_is_seen(native: Kernel, one: str, two: str) -> None:
    assert shown(native.run(one)) != shown(native.run(two))


def test_a_press_waits_for_its_text(native: Kernel) -> None:
    source = "import time\ntime.sleep(0.3)\nprint('ready', flush=True)\ntime.sleep(600)"
    result = native.run(source, press=["ready"])
    assert result.error.startswith("KeyboardInterrupt")
    assert result.seconds > 0.3
    assert result.stdout == "ready\n"


def test_a_press_waits_for_all_parts_of_its_mark(native: Kernel, tmp_path: Path) -> None:
    far = tmp_path / "far"
    source = (
        f"import time\nprint('ready', flush=True)\ntime.sleep(0.3)\nopen({str(far)!r}, 'w').close()\ntime.sleep(600)"
    )
    result = native.run(source, press=[("rea", far.exists, 0.1)])
    assert result.error.startswith("KeyboardInterrupt")
    assert far.exists()


def test_a_function_is_called_once_a_text_was_shown(native: Kernel, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    source = f"import os, time\nprint('a', 'b')\nwhile not os.path.exists({str(shown)!r}): time.sleep(0.01)"
    assert native.run(source, when={"a b\n": shown.touch, "never": shown.unlink}).ok
    assert shown.exists()


def test_an_answer_is_typed(native: Kernel) -> None:
    result = native.run("a, b = input('name? '), input()\n(a, b)", answers=["Ada", "Bo"])
    assert result.asked == ("name? ", "")
    assert result.value() == "('Ada', 'Bo')"


def test_nobody_answers(native: Kernel) -> None:
    assert native.run("input()").error.startswith("StdinNotImplementedError")


def test_late_output_carries_its_cell(native: Kernel) -> None:
    late = "import threading\nthreading.Timer(0.3, print, ['late']).start()"
    result = native.run(late)
    text, until = "", time.monotonic() + 60
    while text != "late\n":
        assert time.monotonic() < until, text
        text += "".join(message.text for message in native.listen(0.1) if message.parent == result.id)


def test_processes_are_those_of_the_kernel(native: Kernel, other: Kernel) -> None:
    native.run("import subprocess\nchild = subprocess.Popen(['sleep', '600'])")
    started = {process.pid for process in native.processes()}
    assert {native.pid, int(native.print("child.pid"))} <= started
    assert other.pid not in started
    native.run("child.kill(); child.wait()")


def test_the_magic_s_own_outputs_are_set_apart() -> None:
    ours = Message("display_data", {"data": {"text/plain": "receipt"}, "metadata": {"modal_gpu": {}}}, 0.0)
    assert ours.ours
    assert Result((), (ours,), {"status": "ok"}, 0.0).said == "receipt"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<object at 0x7f0123456789>", "<object at 0x…>"),
        ("\x1b[32mIn[12]\x1b[39m, line 3", "\x1b[32mIn[n]\x1b[39m, line 3"),
        ("File /tmp/ipykernel_12/3456.py:1", "File <cell>:1"),
        ("<ipython-input-3-abc>:1", "<cell>:1"),
        ("12.5 µs ± 3 ns per loop (mean ± std. dev. of 7 runs, 1,000 loops each)", "<time> ± <time> per loop (mean ± std. dev. of <n> runs, <n> loops each)"),
        ("100%|██| 3/3 [00:00<00:00, 12.3it/s]", "100%|██| 3/3 [bar]"),
        ({"a": ["/tmp/x/y.txt"], "b": 3}, {"a": ["/tmp/…"]}),
        (12.5, 12.5),
    ],
)  # fmt: skip
def test_scrub(raw: object, clean: object) -> None:
    assert scrub(raw, SCRUBS, less=("b",)) == clean


def test_the_growth_of_processes_that_follow_one_another() -> None:
    """A young kernel is smaller than the one before it, and both grow by 2 MB in a thousand cells once they are warm."""
    old = [Size(100 + 0.002 * cells, cells, 1) for cells in range(0, 1000, 10)]
    young = [Size(60 + 0.3 * min(cells, WARM_CELLS) + 0.002 * cells, cells, 2) for cells in range(0, 300, 10)]
    brief = [Size(1.0 * cells, cells, 3) for cells in range(0, WARM_CELLS + 10, 10)]
    grown = growth({"kernel": [*old, *young, *brief], "server": []}, plain=0.5)
    assert grown == {"kernel": pytest.approx(1.5)}
