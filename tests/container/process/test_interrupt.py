"""■ and the timeout: KeyboardInterrupt in user code, wherever it stands; never in ours, and never after the run."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections import deque
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic.container.process import interrupt as interrupt_module
from modal_gpu_magic.container.process.interrupt import PRESS, STRIKE, Interrupt
from tests.container.far_side import FarSide, Ran, mark
from tests.container.smi_double import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

# `raw`: IPython's pretty printer can turn KeyboardInterrupt into an IndexError, which IPython prints and ignores, in a
# native kernel as well (`GroupQueue.remove` in a `finally`).
MANY = {
    "sleep": "import time\ntime.sleep(300)",
    "loop": "while True: pass",
    "printing": "i = 0\nwhile True:\n    i += 1; print(i, 'x' * 500)",
    "printing a long line": "import sys\nwhile True: sys.stdout.write('x')",
    "displaying": "while True: display({'text/plain': 'x'}, raw=True)",
    "timeit": "%timeit -n1 -r1 {mark}; __import__('time').sleep(300)",
    "await": "import asyncio\nawait asyncio.sleep(300)",
    "await gather": "import asyncio\nawait asyncio.gather(*(asyncio.sleep(300) for _ in range(3)))",
    "busy coroutine": "async def f():\n    while True: pass\nawait f()",
    "asyncio.run in a thread": "import asyncio, threading\nt = threading.Thread(target=asyncio.run, args=(asyncio.sleep(300),), daemon=True)\nt.start(); t.join()",
    "subprocess": "import subprocess\nsubprocess.run(['sleep', '300'])",
    "lock": "import threading\nl = threading.Lock(); l.acquire(); l.acquire()",
    "queue": "import queue\nqueue.Queue().get()",
    "numpy": "import numpy as np\na = np.ones((500, 500))\nwhile True: a = (a @ a) / 500",
    "in a repr": "class Slow:\n    def __repr__(self):\n        while True: pass\nSlow()",
    "in a display's repr": "class Slow:\n    def _repr_html_(self):\n        __import__('time').sleep(300)\ndisplay(Slow())",
    "in a finally": "import time\ntry:\n    1 / 0\nfinally:\n    time.sleep(300)",
    "pool": "import multiprocessing as mp, time\nwith mp.get_context('fork').Pool(1) as pool: pool.map(time.sleep, [300])",
}


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """What a cell makes when it may be pressed."""
    return tmp_path / "begun"


def pressed(far: FarSide, source: str, begun: Path, **options: object) -> Ran:
    """Run a cell and press ■ once it has made `begun`: most often a while later, in the middle of what it does next.

    Each of these cells goes on for minutes, so that a press that stops nothing is a test that times out.
    """
    far.send(source, **options)
    eventually(begun.exists)
    time.sleep(0.3)
    far.press()
    return far.ended()


@pytest.mark.parametrize("source", MANY.values(), ids=MANY.keys())
def test_a_cell_stops_and_what_it_bound_stays(shared: FarSide, source: str, begun: Path) -> None:
    is_magic = source.startswith("%")
    body = source.format(mark=mark(begun)) if is_magic else f"bound = {len(source)}\n{mark(begun)}\n{source}"
    ran = pressed(shared, body, begun)
    assert ran.asked
    assert not ran.timed_out
    assert ran.ename == "KeyboardInterrupt"
    assert "modal_gpu_magic" not in "".join(ran.traceback)
    if not is_magic:
        assert shared.run("bound").result == str(len(source))


def test_the_traceback_ends_in_the_cell(shared: FarSide, begun: Path) -> None:
    ran = pressed(shared, f"# one\ndef f():\n    {mark(begun)}\n    while True: pass\nf()", begun, count=77)
    plain = "".join(c for c in "\n".join(ran.traceback))
    assert "In[77]" in plain
    assert len(ran.traceback) == 5
    assert "line 3" in plain or "line 4" in plain


def test_a_stopped_coroutine_is_over(far: FarSide, begun: Path) -> None:
    """It must not go on with the next cell that awaits, and its cleanup has run."""
    ran = pressed(
        far,
        f"import asyncio\nasync def tick():\n    try:\n        {mark(begun)}\n"
        "        while True: await asyncio.sleep(0.05); print('tick')\n    finally: print('cleaned')\nawait tick()",
        begun,
    )
    assert ran.ename == "KeyboardInterrupt"
    assert ran.text().endswith("cleaned\n")
    assert far.run("await asyncio.sleep(0.3); print('on')").text() == "on\n"


def test_a_cell_may_catch_it(shared: FarSide, begun: Path) -> None:
    source = f"import time\ntry:\n    {mark(begun)}; time.sleep(300)\nexcept KeyboardInterrupt:\n    print('caught')\n5"
    ran = pressed(shared, source, begun)
    assert (ran.text(), ran.result, ran.ename, ran.asked) == ("caught\n", "5", "", True)


def test_a_shell_command_ends_with_the_cell_as_in_a_kernel(shared: FarSide, begun: Path) -> None:
    shared.send(f"!mkdir {begun}; exec sleep 300")
    eventually(begun.exists)
    eventually(
        lambda: all(is_waiting(shared.process.pid) for _ in range(30))
    )  # the shell's start is over in Python, too
    shared.press()
    ran = shared.ended()
    assert (ran.ename, ran.asked) == ("", True)


def is_waiting(pid: int) -> bool:
    """Whether the main thread of a process waits in the system, a moment from now."""
    time.sleep(0.01)
    return Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


STUBBORN = """
import itertools, pathlib, time
place = pathlib.Path({!r})
numbers = itertools.count()
def rest():
    (place / 'rests').touch()
    time.sleep(0.05)
def wait(level):
    while True:
        try: wait(level - 1) if level else rest()
        except BaseException: (place / str(next(numbers))).touch()
wait(5)
"""
"""Each level catches what arrives while the level below it handles a press."""


def test_a_cell_that_catches_everything_goes_on_until_it_is_killed(tmp_path: Path) -> None:
    with FarSide() as far:
        far.send(STUBBORN.format(str(tmp_path)))
        eventually((tmp_path / "rests").exists)
        for number in range(3):
            far.press()
            eventually((tmp_path / str(number)).exists)
        assert far.process.poll() is None
        far.process.kill()


def test_a_press_before_user_code_keeps_it_from_running() -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(PRESS)
        ran = False
        with pytest.raises(KeyboardInterrupt), interrupt.window():
            ran = True
    assert (ran, interrupt.asked) == (False, True)


def test_outside_the_window_nothing_is_raised_and_afterwards_the_handlers_are_back() -> None:
    heard: list[int] = []
    before = {number: signal.signal(number, lambda n, _: heard.append(n)) for number in (PRESS, STRIKE)}
    try:
        with Interrupt() as interrupt:
            with interrupt.window():
                pass
            signal.raise_signal(PRESS)
            interrupt.expire()
        interrupt.expire()
        assert (interrupt.asked, interrupt.timed_out, heard) == (True, True, [])
        signal.raise_signal(PRESS)
        assert heard == [PRESS]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raising(number: int, _: object) -> None:
    """A handler as Modal's is for ■, and Python's for SIGINT."""
    raise InterruptedError(number)


def state_of_signals() -> tuple[object, ...]:
    """What an interrupt changes in the process while it handles signals."""
    signal.set_wakeup_fd(wakeup := signal.set_wakeup_fd(-1))
    return *map(signal.getsignal, (PRESS, STRIKE)), wakeup, sys.unraisablehook, tuple(interrupt_module._held)


@pytest.mark.parametrize("number", [PRESS, STRIKE])
def test_a_signal_at_any_line_of_the_way_in_or_out_leaves_nothing_behind(number: int) -> None:
    """Until this handler is set, and once it has been taken back, Modal's handler raises wherever the thread is."""
    before = {each: signal.signal(each, raising) for each in (PRESS, STRIKE)}
    try:
        state, raised = state_of_signals(), 0
        for line in itertools.count(1):
            left = [line]
            try:
                with signal_at_line(left, number), Interrupt():
                    pass
            except InterruptedError:
                raised += 1
            assert state_of_signals() == state, f"line {line}"
            if left[0] > 0:  # the way has fewer lines
                break
        assert raised
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def signal_at_line(left: list[int], number: int) -> Iterator[None]:
    """Raise a signal before line `left[0]` of the module under test runs; `left[0]` counts down to 0."""

    def step(_frame: object, event: str, _: object) -> Any:
        left[0] -= event == "line"
        if event == "line" and left[0] == 0:
            signal.raise_signal(number)
        return step

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: step if frame.f_code.co_filename == interrupt_module.__file__ else None)
    try:
        yield
    finally:
        sys.settrace(before)


def test_a_late_deadline_marks_nothing() -> None:
    with Interrupt() as interrupt:
        pass
    interrupt.expire()
    assert not interrupt.timed_out


TORN = """
import os, signal, threading, time
count = hits = 0
turn = -1
def press():
    for n in range(100):
        while turn != n: time.sleep(0.0005)
        time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGUSR1)
presses = threading.Thread(target=press)
presses.start()
while hits < 100:
    try:
        turn = hits
        while True:
            os.write(1, b'o%d\\n' % count); count += 1
            print('p')
    except KeyboardInterrupt:
        hits += 1
presses.join()
count
"""


def test_no_output_is_torn_by_many_presses(shared: FarSide) -> None:
    """A press never lands between taking bytes out of a pipe and handing them over: no line is lost."""
    ran = shared.run(TORN)
    numbers = [int(number) for number in re.findall(r"o(\d+)\n", ran.text())]  # a press may come before print's newline
    assert numbers == sorted(numbers)
    assert set(numbers) >= set(range(int(ran.result or 0)))
    assert ran.result


IGNORED = """
import os, signal, time
class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGUSR1)
        pass
last = Last()
del last
time.sleep(300)
"""


def test_a_press_that_python_ignores_is_raised_again(shared: FarSide) -> None:
    """A callback of a fork, a `__del__`, a weak reference: Python prints what they raise, and goes on."""
    ran = shared.run(IGNORED)
    assert (ran.ename, ran.asked, ran.text("stderr")) == ("KeyboardInterrupt", True, "")


def test_a_timeout_interrupts_and_says_so(shared: FarSide) -> None:
    shared.run("kept = 5")
    began = time.monotonic()
    ran = shared.run("import time\ntime.sleep(300)", timeout=0.5)  # before its first statement, if the machine is busy
    assert (ran.ename, ran.timed_out, ran.asked) == ("KeyboardInterrupt", True, False)
    assert time.monotonic() - began >= 0.5
    assert shared.run("kept").result == "5"


def test_a_cell_in_time_is_left_alone(shared: FarSide) -> None:
    """And the next one: one thread watches all cells, and starts once."""
    for _ in range(2):
        ran = shared.run("1", timeout=300.0)
        assert (ran.result, ran.timed_out) == ("1", False)
    watching = "[each.name for each in threading.enumerate()].count('modal-gpu-watchdog')"
    assert shared.run(f"import threading\n{watching}").result == "1"


def test_a_press_is_noticed_while_the_main_thread_is_in_c_code() -> None:
    """The notebook ends a container that does not say that ■ has arrived."""
    noticed: list[str] = []
    turns: deque[object] = deque(maxlen=1)

    def press() -> None:
        while not turns:  # until the main thread is in the loop of C code
            time.sleep(0.01)
        os.kill(os.getpid(), PRESS)

    def call() -> None:
        with Interrupt(lambda: noticed.append(threading.current_thread().name)) as interrupt, interrupt.window():
            hashes = map(turns.append, map(hashlib.sha256, repeat(bytes(100_000))))  # each lets the GIL go
            next(filter(itemgetter(1), zip(hashes, map(len, repeat(noticed)), strict=False)))
            time.sleep(300)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        call()
    assert noticed == ["modal-gpu-signals", "MainThread"]


def test_a_press_is_noticed_although_the_signal_was_blocked_when_it_arrived() -> None:
    """Each signal is blocked while Python notes its arrival; a busy machine may stop the main thread just then."""
    noticed: list[str] = []
    with Interrupt(lambda: noticed.append(threading.current_thread().name)):
        signal.pthread_sigmask(signal.SIG_BLOCK, {PRESS})
        try:
            os.kill(os.getpid(), PRESS)
            eventually(reader_waits)
            assert "modal-gpu-signals" not in noticed
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {PRESS})
        eventually(lambda: "modal-gpu-signals" in noticed)


def test_a_press_of_a_cell_that_blocks_the_signal_is_forgotten_with_the_cell() -> None:
    noticed: list[str] = []
    try:
        with Interrupt(lambda: noticed.append(threading.current_thread().name)):
            signal.pthread_sigmask(signal.SIG_BLOCK, {PRESS})  # now: a thread that starts has the mask of the main one
            os.kill(os.getpid(), PRESS)
            eventually(lambda: noticed and reader_waits())
        eventually(lambda: not reader_waits())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {PRESS})
    assert noticed == ["MainThread"]


def reader_waits() -> bool:
    """Whether the thread that reads of signals waits for the main thread to unblock one."""
    reader = next(each for each in threading.enumerate() if each.name == "modal-gpu-signals")
    stack = traceback.walk_stack(sys._current_frames()[reader.ident or 0])
    return "_notify" in {frame.f_code.co_name for frame, _ in stack}
