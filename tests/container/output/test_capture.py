"""What a cell writes arrives whole and in order, whoever writes it; and what is not a cell's goes to Modal's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.container.far_side import FarSide, text_of
from tests.container.smi_double import eventually

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
        f"subprocess.run([sys.executable, '-c', {child!r}], stdout=subprocess.DEVNULL, timeout=100).returncode"
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
    assert far.whole_log() == "of the SDK\n"


def test_a_crash_s_last_words_go_to_the_log() -> None:
    far = FarSide()
    with far:
        far.send("import ctypes\nctypes.string_at(0)")
        with pytest.raises(EOFError):
            far.ended()
    log = far.whole_log()
    assert "Segmentation fault" in log
    assert '", line 2 in <module>' in log


LATE = """
import threading, time
from pathlib import Path
place = Path({!r})
written = [threading.Event() for _ in range(4)]
def work():
    for i in range(4):
        while not (place / str(i)).exists(): time.sleep(0.01)
        print('late', i)
        written[i].set()
threading.Thread(target=work).start()
print('first')
"""
"""A thread writes a line for each file that is made in a directory."""


def test_output_after_a_cell_is_its_own_and_never_the_next_one_s(far: FarSide, tmp_path: Path) -> None:
    first = far.run(LATE.format(str(tmp_path)))
    assert first.text() == "first\n"
    (tmp_path / "0").touch()
    between = far.later("late 0\n")
    assert text_of(between) == "late 0\n"
    second = far.run("for i in (1, 2): (place / str(i)).touch(); written[i].wait()\nprint('second')")
    assert second.text() == "second\n"
    (tmp_path / "3").touch()
    rest = far.later("late 3\n")
    assert {run for run, _ in far.late} <= {"run 1"}
    late = [*between, *(event for _, event in far.late), *rest]
    assert text_of(late) == "".join(f"late {i}\n" for i in range(4))
    assert [event.number for event in late] == list(range(len(first.events), len(first.events) + len(late)))
    assert all(event.content["late"] for event in late)


def test_a_child_s_output_after_a_cell_is_late(far: FarSide, tmp_path: Path) -> None:
    waits = f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo done"
    assert far.run(f"import subprocess\np = subprocess.Popen({waits!r}, shell=True)").text() == ""
    (tmp_path / "go").touch()
    (event,) = far.later("done\n")
    assert event.content == {"name": "stdout", "text": "done\n", "late": True}


def test_a_task_s_output_is_its_own_cell_s(far: FarSide) -> None:
    far.run(
        "import asyncio\nasync def work():\n    await asyncio.sleep(0.05); print('task')\nt = asyncio.create_task(work())"
    )
    assert far.run("await asyncio.sleep(0.2); print('second')").text() == "second\n"
    rest = far.later()
    assert {run for run, _ in far.late} <= {"run 1"}
    assert text_of([*(event for _, event in far.late), *rest]) == "task\n"


def test_what_is_written_arrives_while_the_cell_runs(far: FarSide, tmp_path: Path) -> None:
    far.send("import sys, time\nsys.stdout.write('now\\n'); time.sleep(300)", posts=str(tmp_path))
    eventually((tmp_path / "stream 1").exists)
    far.press()
    ran = far.ended()
    assert (ran.text(), ran.ename) == ("now\n", "KeyboardInterrupt")


HELD = """
import sys, threading
users, held, gave_up = threading.Lock(), threading.Event(), threading.Event()
def sweep():
    with sys.stdout._pipes.lock:
        held.set()
        if not users.acquire(timeout=100):
            gave_up.set()
with users:
    threading.Thread(target=sweep).start()
    held.wait()
    print('goes on', flush=True)
    has_waited = gave_up.is_set()
has_waited
"""
"""The thread stands in for the capture thread, with a finalizer in it that waits for the user's lock."""


def test_a_print_does_not_wait_for_a_finalizer_that_waits_for_the_printing_thread(far: FarSide) -> None:
    ran = far.run(HELD)
    assert ran.text() == "goes on\n"
    assert ran.result == "False"


SLOW = """
import os, sys, threading, time
pipes, busy, may_send = sys.stdout._pipes, threading.Event(), threading.Semaphore(0)
send, lock = pipes._send_text, pipes.lock
def send_slowly(fd, text):
    busy.set()
    may_send.acquire()
    send(fd, text)
class SlowLock:
    def acquire(self, blocking=True, timeout=-1):
        if timeout < 0:
            return lock.acquire(blocking)
        before = pipes._swept
        may_send.release()
        while pipes._swept == before:
            if lock.acquire(blocking=False):
                return True
            time.sleep(0.001)
        return False
    def release(self):
        lock.release()
    def __enter__(self):
        lock.acquire()
    def __exit__(self, *_):
        lock.release()
pipes._send_text, pipes.lock = send_slowly, SlowLock()
os.write(1, b'a')
busy.wait()
os.write(1, b'b')
os.write(2, b'c')
print('d')
del pipes._send_text
pipes.lock = lock
"""
"""While `print` waits for the lock for as long as it does, the capture thread sends one of the three writes: more than
it waits for a capture thread that makes no progress."""


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
