"""What a cell writes arrives whole and in order, whoever writes it; and what is not a cell's goes to Modal's log."""

from __future__ import annotations

import time

import pytest

from tests.container.far_side import FarSide

INTERLEAVED = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
for i in range({n}):
    print('p', i)
    os.write(1, b'o %d\\n' % i)
    sys.stdout.buffer.write(b'b %d\\n' % i)
    libc.printf(b'c %d\\n', i)
    {child}
    sys.__stdout__.write('s %d\\n' % i); sys.__stdout__.flush()
"""


@pytest.mark.parametrize(
    "n, child, letters", [(200, "", "pobcs"), (5, "subprocess.run(['echo', 'e', str(i)])", "pobces")]
)
def test_the_order_is_exact(shared: FarSide, n: int, child: str, letters: str) -> None:
    ran = shared.run(INTERLEAVED.format(n=n, child=child))
    assert ran.text().splitlines() == [f"{letter} {i}" for i in range(n) for letter in letters]


def test_stdout_stderr_and_displays_keep_their_order(shared: FarSide) -> None:
    ran = shared.run(
        "import os, sys\nfor i in range(50):\n    os.write(1, b'o'); display('d'); print('e', file=sys.stderr, end='')"
    )
    seen = "".join("d" if event.kind == "display_data" else event.content["text"] for event in ran.events)
    assert seen == "ode" * 50


SCENES = {
    "C without a flush": ("import ctypes\nctypes.CDLL(None).printf(b'from C')", "from C"),
    "the first stdout without a flush": ("import sys\nsys.__stdout__.write('first');", "first"),
    "os.system": ("import os\nos.system('echo shell');", "shell\n"),
    "grandchild": ("import subprocess\nsubprocess.run(['sh', '-c', 'sh -c \"echo deep\"']);", "deep\n"),
    "given to a child": ("import subprocess, sys\nsubprocess.run(['echo', 'given'], stdout=sys.stdout);", "given\n"),
    "forked": (
        "import os\npid = os.fork()\nif not pid:\n    print('child'); os._exit(0)\nos.waitpid(pid, 0);",
        "child\n",
    ),
    "forked, unicode": (
        "import os\npid = os.fork()\nif not pid:\n    print('é' * 70_000); os._exit(0)\nos.waitpid(pid, 0);",
        "é" * 70_000 + "\n",
    ),
    "pool": (
        "import multiprocessing as mp\ndef f(x):\n    print('in', x); return x\n"
        "with mp.get_context('fork').Pool(1) as pool: print(pool.map(f, [1, 2]))",
        "in 1\nin 2\n[1, 2]\n",
    ),
    "carriage returns": ("print('a\\rb\\r\\nc', end='')", "a\rb\r\nc"),
    "nothing": ("print('', end='')", ""),
    "detached buffer": (
        "import io, sys\nio.TextIOWrapper(sys.stdout.buffer).write('x')\nsys.stdout.buffer.write(b'y'); print('z')",
        "xyz\n",
    ),
    "reconfigured": ("import sys\nsys.stdout.reconfigure(encoding='latin-1', line_buffering=True); print('é')", "é\n"),
    "closed": ("import sys\nsys.stdout.close(); print('still open')", "still open\n"),
    "old handler": ("import logging\nlogging.getLogger('library').warning('w')", ""),
    "surrogate": ("print('\\ud800')", "\\ud800\n"),
    "invalid bytes": ("import os\nos.write(1, b'\\xff\\xfea');", "��a"),
}


@pytest.mark.parametrize("source, shown", SCENES.values(), ids=SCENES.keys())
def test_it_arrives(shared: FarSide, source: str, shown: str) -> None:
    assert shared.run(source).text() == shown


def test_a_character_split_between_writes_is_one(shared: FarSide) -> None:
    ran = shared.run("import os, time\nfor b in 'aé中🎉'.encode():\n    os.write(1, bytes([b])); time.sleep(0.01)")
    assert ran.text() == "aé中🎉"


def test_an_unfinished_character_does_not_reach_into_the_next_cell(shared: FarSide) -> None:
    assert shared.run("import os\nos.write(1, '中'.encode()[:2]);").text() == "�"
    assert shared.run("os.write(1, b'a');").text() == "a"


def test_a_child_that_writes_a_lot_loses_nothing(shared: FarSide) -> None:
    lines = shared.run("import subprocess\nsubprocess.run(['seq', '1', '200000']);").text().splitlines()
    assert lines == [str(i) for i in range(1, 200_001)]


@pytest.mark.parametrize("away", ["os.dup2(open(os.devnull, 'w').fileno(), 1)", "os.close(1)"])
def test_a_child_s_errors_arrive_after_the_cell_has_replaced_stdout(far: FarSide, away: str) -> None:
    far.run(f"import os, subprocess, sys, time\n{away}\ntime.sleep(0.2)")
    child = "import sys; sys.stderr.write('x' * 3_000_000)"
    ran = far.run(
        f"subprocess.run([sys.executable, '-c', {child!r}], stdout=subprocess.DEVNULL, timeout=20).returncode"
    )
    assert (ran.result, ran.ename) == ("0", "")
    assert ran.text("stderr") == "x" * 3_000_000


def test_a_line_of_50_megabytes_arrives(shared: FarSide) -> None:
    assert shared.run("print('x' * 50_000_000)").text() == "x" * 50_000_000 + "\n"


def test_streams_have_what_code_asks_of_them(shared: FarSide) -> None:
    ran = shared.run(
        "import io, sys\n"
        "[(s.name, s.encoding, s.errors, s.mode, s.isatty(), s.writable(), s.readable(), s.seekable(), s.fileno(), s.closed,"
        " s.line_buffering, s.newlines, isinstance(s, io.TextIOBase)) for s in (sys.stdout, sys.stderr)]"
    )
    rest = "'w', False, True, False, False"
    assert ran.result == (
        f"[('stdout', 'UTF-8', 'backslashreplace', {rest}, 1, False, True, None, True), "
        f"('stderr', 'UTF-8', 'backslashreplace', {rest}, 2, False, True, None, True)]"
    )


@pytest.mark.parametrize("source", ["sys.stdout.write(b'x')", "sys.stdout.write(None)", "sys.stdout.read()"])
def test_wrong_use_of_a_stream_raises_in_the_cell(shared: FarSide, source: str) -> None:
    ran = shared.run(f"import sys\n{source}")
    assert ran.ename in ("TypeError", "UnsupportedOperation")
    assert "modal_gpu_magic" not in "".join(ran.traceback)


def test_loggers_of_libraries_write_to_the_cell_and_the_sdk_s_to_the_log() -> None:
    with FarSide() as far:
        ran = far.run(
            "import logging\nlogging.getLogger('library').error('of a library')\n"
            "logging.getLogger('modal-client').error('of the SDK')\nlogging.error('of the cell')"
        )
    assert ran.text("stderr") == "of a library\nERROR:root:of the cell\n"
    assert b"".join(far.log) == b"of the SDK\n"


def test_a_crash_s_last_words_go_to_the_log() -> None:
    far = FarSide()
    with far:
        far.send("import ctypes\nctypes.string_at(0)")
        with pytest.raises(EOFError):
            far.ended()
    log = b"".join(far.log)
    assert b"Segmentation fault" in log
    assert b'", line 2 in <module>' in log


def test_output_after_a_cell_is_its_own_and_never_the_next_one_s(far: FarSide) -> None:
    first = far.run(
        "import threading, time\ndef work():\n    for i in range(4):\n        time.sleep(0.25); print('late', i)\n"
        "threading.Thread(target=work).start(); print('first')"
    )
    assert first.text() == "first\n"
    between = far.later(0.4)
    assert [(e.number, e.content["text"], e.content["late"]) for e in between] == [(1, "late 0\n", True)]
    second = far.run("time.sleep(0.4); print('second')")
    assert second.text() == "second\n"
    assert {run for run, _ in far.late} == {"run 1"}
    rest = [event for _, event in far.late] + far.later(0.6)
    assert [event.number for event in rest] == [2, 3, 4]
    assert "".join(event.content["text"] for event in rest) == "late 1\nlate 2\nlate 3\n"


def test_a_child_s_output_after_a_cell_is_late(far: FarSide) -> None:
    assert far.run("import subprocess\np = subprocess.Popen('sleep 0.2; echo done', shell=True)").text() == ""
    (event,) = far.later(0.6)
    assert event.content == {"name": "stdout", "text": "done\n", "late": True}


def test_a_task_s_output_is_its_own_cell_s(far: FarSide) -> None:
    far.run(
        "import asyncio\nasync def work():\n    await asyncio.sleep(0.05); print('task')\nt = asyncio.create_task(work())"
    )
    assert far.run("await asyncio.sleep(0.2); print('second')").text() == "second\n"
    assert [(run, event.content["text"]) for run, event in far.late] == [("run 1", "task\n")]


def test_what_is_written_arrives_while_the_cell_runs(far: FarSide) -> None:
    far.send("import time\nprint('now'); time.sleep(30)")
    time.sleep(0.5)
    far.press()
    ran = far.ended()
    assert (ran.text(), ran.frames, ran.ename) == ("now\n", 1, "KeyboardInterrupt")


HELD = """
import sys, threading, time
users, held = threading.Lock(), threading.Event()
def sweep():
    with sys.stdout._pipes.lock:
        held.set()
        users.acquire(timeout=10)
with users:
    threading.Thread(target=sweep).start()
    held.wait()
    began = time.monotonic()
    print('goes on', flush=True)
    waited = time.monotonic() - began
round(waited)
"""
"""The thread stands in for the capture thread, with a finalizer in it that waits for the user's lock."""


def test_a_print_does_not_wait_for_a_finalizer_that_waits_for_the_printing_thread(far: FarSide) -> None:
    ran = far.run(HELD)
    assert ran.text() == "goes on\n"
    assert int(ran.result or 9) < 4


SLOW = """
import os, sys, threading, time
pipes, busy = sys.stdout._pipes, threading.Event()
send = pipes._send_text
def send_slowly(fd, text):
    busy.set()
    time.sleep(0.2)
    send(fd, text)
pipes._send_text = send_slowly
os.write(1, b'a')
busy.wait()
os.write(1, b'b')
os.write(2, b'c')
print('d')
del pipes._send_text
"""
"""The three writes take longer than `print` waits for a capture thread that makes no progress."""


def test_a_print_waits_for_what_was_written_before_however_slowly_it_is_sent(far: FarSide) -> None:
    ran = far.run(SLOW)
    assert "".join(event.content["text"] for event in ran.events if event.kind == "stream") == "abcd\n"


ENDED_HOLDING = """
import os, sys, threading
users, held = threading.Lock(), threading.Event()
users.acquire()
def finalizer():
    with LOCK:
        held.set()
        users.acquire()
threading.Thread(target=finalizer, daemon=True).start()
held.wait()
os.write(1, b'by a child\\n')
print('by Python')
"""
"""The thread stands in for the thread of ours that is in a finalizer, which waits for what the cell has not given back."""


@pytest.mark.parametrize("lock", ["sys.stdout._pipes.lock", "sys.stdout._emit.__self__._lock"], ids=["pipes", "events"])
def test_a_cell_that_ends_with_a_lock_for_which_our_thread_waits(far: FarSide, lock: str) -> None:
    ran = far.run(ENDED_HOLDING.replace("LOCK", lock))
    assert sorted(ran.text().splitlines()) == ["by Python", "by a child"]
    assert far.run("print('next')").text() == "next\n"
    assert far.run("users.release(); print('given back')").text() == "given back\n"
    assert far.run("print('last')").text() == "last\n"
