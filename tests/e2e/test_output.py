"""What a cell writes: every stream, live, in order, without loss, and only under its own cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.compare import merged
from tests.e2e.detached_user import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel, Result

PAST_PYTHON = {
    "descriptor 1": ("import os\nos.write(1, b'a\\n');", "a\n", ""),
    "descriptor 2": ("import os\nos.write(2, b'a\\n');", "", "a\n"),
    "subprocess": ("import subprocess\nsubprocess.run(['echo', 'from a child']);", "from a child\n", ""),
    "os.system": ("import os\nos.system('echo from a shell');", "from a shell\n", ""),
}
"""Cells, and what they show on both streams. A native kernel may show it only after the cell has ended."""
SAME = {
    "print": "print('a', 1, sep='-'); print('b', end=''); print()",
    "nothing": "x = 1",
    "only a comment": "# nothing to do",
    "unicode": "print('é 中 🎉')",
    "stderr": "import sys\nprint('a', file=sys.stderr)\nsys.stderr.write('b')",
    "writelines": "import sys\nsys.stdout.writelines(['a\\n', 'b\\n']);",
    "a thread, joined": "import threading\nt = threading.Thread(target=print, args=('from a thread',))\nt.start(); t.join()",
    "shell": "!echo hi",
    "shell with a variable": "word = 'there'\n!echo {word} $word",
    "shell to a list": "lines = !printf 'a\\nb\\n'\nlines",
    "shell fails": "!exit 3\n_exit_code",
    "carriage return": "for i in range(3): print(f'\\r{i}', end='')",
    "bar": "from tqdm import tqdm\nfor i in tqdm(range(3), mininterval=9): pass",
    "logging": "import logging\nlogging.getLogger('some').warning('careful')",
    "warning": "import warnings\nwarnings.warn('careful')",
    "traceback printed": "import traceback\ntry: 1/0\nexcept ZeroDivisionError: traceback.print_exc()",
    "redirected": "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as text: print('hidden')\ntext.getvalue()",
    "captured": "%%capture held\nprint('hidden')",
    "bash": "%%bash\necho from bash",
    "await": "import asyncio\nawait asyncio.sleep(0.01)\nprint('woke')",
    "async for": "async def three():\n    for i in range(3): yield i\nasync for i in three(): print(i)",
    "gathered": "import asyncio\nawait asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))",
    "asyncio.run in a thread": (
        "import asyncio, concurrent.futures as f\n"
        "with f.ThreadPoolExecutor() as pool: print(pool.submit(asyncio.run, asyncio.sleep(0, 'ran')).result())"
    ),
    "env": "%env MG_WORD=yes\nimport os\nos.environ['MG_WORD']",
    "time": "%time sum(range(10))",
    "time as the second line": "%%time\nprint('timed')\n1 + 1",
    "timeit": "%timeit -n10 -r2 sum(range(10))",
    "timeit as the second line": "%%timeit -n10 -r2\nsum(range(10))",
    "timeit result": "t = %timeit -n10 -r2 -o -q sum(range(10))\nt.loops",
    "writefile": "%%writefile mg_note.txt\nhello",
}


def lines(result: Result) -> list[tuple[str, str]]:
    """The lines that a cell shows, each with the kind of its output."""
    return [(kind, line) for kind, text in merged(result.messages) for line in text.split("\n") if line]


@pytest.mark.parametrize("source", SAME.values(), ids=SAME.keys())
def test_a_cell_shows_what_it_would_here(pair: Pair, source: str) -> None:
    pair.there(source, ordered=False)


@pytest.mark.parametrize("source, stdout, stderr", PAST_PYTHON.values(), ids=PAST_PYTHON)
def test_what_goes_past_python_is_shown_with_its_cell(kernel: Kernel, source: str, stdout: str, stderr: str) -> None:
    result = kernel.remote(source)
    assert (result.stdout, result.stderr, result.bundles(), result.error) == (stdout, stderr, [], "")


def test_a_forked_pool_prints_in_order(kernel: Kernel) -> None:
    """A native kernel joins a child's lines with its own as they happen to come; here they share one pipe."""
    source = (
        "import multiprocessing\n"
        "def square(x):\n    print('child', x, flush=True)\n    return x * x\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: print(pool.map(square, [1, 2]))"
    )
    assert kernel.remote(source).stdout == "child 1\nchild 2\n[1, 4]\n"


FORKED = {
    "os.fork": "import os\npid = os.fork()\nif pid == 0:\n    CHILD\n    os._exit(0)\nos.waitpid(pid, 0);",
    "a grandchild": (
        "import os\npid = os.fork()\nif pid == 0:\n    pid = os.fork()\n    if pid == 0:\n        CHILD\n"
        "    else:\n        os.waitpid(pid, 0)\n    os._exit(0)\nos.waitpid(pid, 0);"
    ),
    "a process": (
        "import multiprocessing\ndef work():\n    CHILD\n"
        "process = multiprocessing.get_context('fork').Process(target=work)\nprocess.start()\nprocess.join()"
    ),
    "a pool": (
        "import multiprocessing\ndef work(_):\n    CHILD\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool: pool.map(work, [1]);"
    ),
    "an executor": (
        "import multiprocessing, concurrent.futures as f\ndef work():\n    CHILD\n"
        "with f.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('fork')) as pool: pool.submit(work).result()"
    ),
}


@pytest.mark.parametrize("source", FORKED.values(), ids=FORKED.keys())
def test_a_forked_child_displays_in_order(kernel: Kernel, source: str) -> None:
    """A native kernel shows a child's display if the child has printed before, and warns in its log else."""
    child = "print('a', flush=True); display('b'); print('c', flush=True); display(4)"
    result = kernel.remote(source.replace("CHILD", child) + "\nprint('parent')")
    assert lines(result) == [
        ("stream", "a"),
        ("display_data", "'b'"),
        ("stream", "c"),
        ("display_data", "4"),
        ("stream", "parent"),
    ]


def test_a_function_of_the_notebook_displays_in_a_forked_child(kernel: Kernel) -> None:
    """Not compared with a native kernel, which joins the lines of child and parent as they happen to come."""
    kernel.run("def forked(n):\n    print('child', n, flush=True)\n    display(n)")
    result = kernel.remote(
        "from multiprocessing import get_context\n"
        "process = get_context('fork').Process(target=forked, args=(1,))\n"
        "process.start()\nprocess.join()\nprint('parent', process.exitcode)"
    )
    assert lines(result) == [("stream", "child 1"), ("display_data", "1"), ("stream", "parent 0")]


def test_a_forked_child_shows_a_figure(kernel: Kernel) -> None:
    child = "import matplotlib.pyplot as plt; plt.figure(figsize=(1, 1)).gca().plot([1, 2]); plt.show()"
    bundles = kernel.remote(FORKED["os.fork"].replace("CHILD", child)).bundles()
    assert [("image/png" in bundle) for bundle in bundles] == [True]


def test_many_forked_children_display(kernel: Kernel) -> None:
    source = """
import multiprocessing
def work(n):
    for i in range(20): display(1000 * n + i)
children = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(4)]
for child in children: child.start()
for child in children: child.join()
"""
    numbers = [int(bundle["text/plain"]) for bundle in kernel.remote(source).bundles()]
    assert sorted(numbers) == [1000 * n + i for n in range(4) for i in range(20)]
    for n in range(4):
        assert [number for number in numbers if number // 1000 == n] == [1000 * n + i for i in range(20)]


def test_what_c_did_not_flush_is_shown_at_the_end_of_the_cell(kernel: Kernel) -> None:
    """A native kernel shows it with some later cell, or never."""
    assert kernel.remote("import ctypes\nctypes.CDLL(None).printf(b'from C\\n');").stdout == "from C\n"


def test_order_across_python_c_and_children(kernel: Kernel) -> None:
    """A native kernel does not keep this order; ours does, since all writers share one pipe."""
    source = """
import ctypes, os, subprocess
libc = ctypes.CDLL(None)
for i in range(20):
    print(f"p{i}")
    os.write(1, b"w%d\\n" % i)
    subprocess.run(["echo", f"s{i}"])
    libc.printf(b"c%d\\n", i)
    libc.fflush(None)
"""
    assert kernel.remote(source).stdout.split() == [f"{who}{i}" for i in range(20) for who in "pwsc"]


def test_order_across_streams_and_displays(kernel: Kernel) -> None:
    source = """
import sys
from IPython.display import display
for i in range(3):
    print("out", i)
    print("err", i, file=sys.stderr)
    display(i)
"""
    result = kernel.remote(source)
    assert lines(result) == [
        shown for i in range(3) for shown in (("stream", f"out {i}"), ("stream", f"err {i}"), ("display_data", f"{i}"))
    ]


def test_output_is_live(kernel: Kernel, tmp_path: Path) -> None:
    """The cell goes on once its last line was shown."""
    source = f"""
import os, time
for i in range(4):
    print("line", i)
    while not os.path.exists({str(tmp_path)!r} + f"/{{i}}"): time.sleep(0.01)
"""
    result = kernel.remote(source, when={f"line {i}\n": (tmp_path / f"{i}").touch for i in range(4)})
    assert result.stdout == "line 0\nline 1\nline 2\nline 3\n", result.error


def test_a_hundred_thousand_lines(kernel: Kernel) -> None:
    result = kernel.remote("for i in range(100_000): print(i)")
    assert result.stdout == "".join(f"{i}\n" for i in range(100_000))
    assert len(result.messages) < 10_000, "lines must travel in batches"


def test_lines_of_a_child_process(kernel: Kernel) -> None:
    assert kernel.remote("!seq 100000").stdout.split() == [str(i + 1) for i in range(100_000)]


def test_lines_of_many_threads_keep_their_order(kernel: Kernel) -> None:
    source = """
from concurrent.futures import ThreadPoolExecutor
def write(who):
    for i in range(1000): print(f"{who} {i}\\n", end="")
with ThreadPoolExecutor(8) as pool: list(pool.map(write, range(8)))
"""
    lines = kernel.remote(source).stdout.splitlines()
    assert len(lines) == 8000
    for who in range(8):
        assert [line for line in lines if line.startswith(f"{who} ")] == [f"{who} {i}" for i in range(1000)]


def test_one_line_of_fifty_megabytes(kernel: Kernel) -> None:
    result = kernel.remote("print('x' * 50_000_000)")
    assert len(result.stdout) == 50_000_001
    assert result.stdout.strip("x") == "\n"


def test_a_display_of_three_megabytes(kernel: Kernel) -> None:
    """Larger than an item of the queue may be: it travels in slices."""
    (bundle,) = kernel.remote("from IPython.display import HTML\nHTML('x' * 3_000_000)").bundles()
    assert bundle["text/html"] == "x" * 3_000_000


def test_unicode_split_across_writes(kernel: Kernel) -> None:
    source = """
import os, time
for byte in "é中🎉\\r\\n".encode():
    os.write(1, bytes([byte]))
    time.sleep(0.03)
"""
    assert kernel.remote(source).stdout == "é中🎉\r\n"


def test_bytes_that_are_no_text(kernel: Kernel) -> None:
    assert kernel.remote("import os\nos.write(1, b'a\\xffb\\n');").stdout == "a\ufffdb\n"


LATE = """
import os, threading, time
def wait(name):
    while not os.path.exists({0!r} + "/" + name): time.sleep(0.01)
def late():
    wait("go")
    print("late")
    open({0!r} + "/gone", "w").close()
threading.Thread(target=late).start()
"""
"""A thread that prints once a file exists, and makes a file then."""


def test_late_output_goes_to_its_cell_or_nowhere(kernel: Kernel, tmp_path: Path) -> None:
    first = kernel.remote(f"{LATE.format(str(tmp_path))}print('first')")
    assert first.stdout == "first\n"
    (tmp_path / "go").touch()
    wait_until((tmp_path / "gone").exists)
    late = [message for message in kernel.listen(1.0) if message.kind == "stream" and "late" in message.text]
    assert {message.parent for message in late} <= {first.id}
    assert kernel.remote("print('second')").stdout == "second\n"


def test_late_output_during_the_next_cell(kernel: Kernel, tmp_path: Path) -> None:
    assert kernel.remote(LATE.format(str(tmp_path))).ok
    second = f"open({str(tmp_path / 'go')!r}, 'w').close()\nwait('gone')\nprint('second')"
    assert kernel.remote(second).stdout == "second\n"


def test_input_is_asked_here(pair: Pair) -> None:
    result = pair.there("name = input('name? ')\nprint('hello', name)", answers=["Ada"])
    assert result.asked == ("name? ",)
    assert result.stdout == "hello Ada\n"


def test_input_twice_and_a_password(pair: Pair) -> None:
    result = pair.there("import getpass\n[input(), getpass.getpass('word: ')]", answers=["one", "two"])
    assert result.value() == "['one', 'two']"


def test_input_where_nobody_answers(kernel: Kernel) -> None:
    result = kernel.remote("input('name? ')", timeout=60)
    assert not result.ok


def test_a_hundred_messages_of_our_own_are_not_needed(kernel: Kernel) -> None:
    """The status is replaced in place: a quick cell is a status at most, and a receipt."""
    notes = kernel.remote("print('quick')").notes
    assert 1 <= len([note for note in notes if note.kind == "display_data"]) <= 2
