"""What the shell promises beyond showing what a kernel shows: its outcome, its namespace, its price."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.container.far_side import ROOT, FarSide


def test_an_outcome_says_what_a_cell_s_value_was(shared: FarSide) -> None:
    assert shared.run("6 * 7").result == "42"
    assert shared.run("6 * 7;").result is None
    assert shared.run("None").result is None
    assert shared.run("x = 5").result is None
    assert shared.run("import asyncio\nawait asyncio.sleep(0, 'v')").result == "'v'"


def test_errors_that_are_shown_where_they_are_raised_have_no_traceback(shared: FarSide) -> None:
    wrong = shared.run("%no_such_magic")
    assert (wrong.ename, wrong.traceback, wrong.text("stderr")) == ("UsageError", (), "")
    left = shared.run("import sys; sys.exit('over')")
    assert (left.ename, left.evalue, left.text("stderr")) == ("SystemExit", "over", "")


def test_a_value_that_cannot_be_shown_fails_the_cell(shared: FarSide) -> None:
    ran = shared.run("class Bad:\n    def __repr__(self): raise ValueError('no repr')\nBad()")
    assert (ran.ename, ran.evalue, ran.result, ran.kinds()) == ("ValueError", "no repr", None, ["failed"])


def test_an_error_in_passing_is_an_event_in_its_place(shared: FarSide) -> None:
    ran = shared.run("print('a')\nget_ipython().run_cell('1 / 0')\nprint('b')")
    assert ran.kinds() == ["stream", "error", "stream"]
    assert (ran.ename, ran.events[1].content["ename"]) == ("", "ZeroDivisionError")


def test_a_group_s_traceback_is_the_failure_s(shared: FarSide) -> None:
    ran = shared.run("raise ExceptionGroup('both', [ValueError('a'), KeyError('b')])")
    assert ran.ename == ("ExceptionGroup" if sys.version_info >= (3, 11) else "NameError")
    assert "ValueError: a" in "\n".join(ran.traceback) or sys.version_info < (3, 11)
    assert ran.kinds() == ["failed"]


def test_numbers_with_gaps_find_their_cells(far: FarSide) -> None:
    far.run("first = 1", count=3)
    far.run("second = 2", count=7)
    assert far.run("In[3], In[5], In[7]", count=9).result == "('first = 1', '', 'second = 2')"
    assert far.run("list(Out), _9[0]", count=11).result == "([9], 'first = 1')"
    assert "In[12]" in "".join(far.run("1 / 0", count=12).traceback)


def test_no_traceback_yet(far: FarSide) -> None:
    assert far.run("%tb").text("stderr") == "No traceback available to show.\n"


def test_a_cell_may_shadow_any_name(far: FarSide) -> None:
    far.run("print = display = get_ipython = input = open = os = sys = signal = time = exit = None")
    assert far.run("len('still here')").result == "10"


def test_main_is_the_cell_s_own(far: FarSide) -> None:
    ran = far.run(
        "import sys\nfrom concurrent.futures import ProcessPoolExecutor as P\nimport multiprocessing as mp\n"
        "class C:\n    pass\n"
        "C.__module__, sys.modules['__main__'].C is C, hasattr(sys.modules['__main__'], 'FarSide')"
    )
    assert ran.result == "('__main__', True, False)"


def test_windows_are_refused_and_load_says_why_it_cannot(shared: FarSide, tmp_path: Path) -> None:
    assert "'qt' needs a display" in shared.run("%gui qt").text("stderr")
    shared.run(f"%%writefile {tmp_path}/load.py\n1")
    ran = shared.run(f"%load {tmp_path}/load.py")
    assert ran.kinds() == ["note"]
    assert "cannot write into the notebook" in ran.events[0].content["text"]


def test_the_shell_writes_no_history_and_has_no_thread_for_it(far: FarSide, tmp_path: Path) -> None:
    assert far.run("import threading\n[t.name for t in threading.enumerate() if 'istory' in t.name]").result == "[]"
    with FarSide(IPYTHONDIR=str(tmp_path)) as other:
        other.run("1")
    assert not list(tmp_path.rglob("history.sqlite"))


def test_what_a_display_shows_is_fixed_when_it_is_shown(shared: FarSide) -> None:
    ran = shared.run(
        "from IPython.display import JSON\nimport numpy as np\nheld = {'a': [np.int64(1)]}\n"
        "display(JSON(held)); held['a'].append(2)\n"
        "display({'x/y': {1: (2.5, None, np.float32(1), 's\\ud800')}}, raw=True)"
    )
    assert ran.events[0].content["data"]["application/json"] == {"a": [1]}
    assert ran.events[1].content["data"] == {"x/y": {1: [2.5, None, 1.0, "s\\ud800"]}}
    ran = shared.run("display({'x/y': object()}, raw=True)")
    assert (ran.ename, "not JSON serializable" in ran.evalue) == ("TypeError", True)


PRICE = """
import json, sys
import modal_gpu_magic
from modal_gpu_magic.container.cell.shell import make_shell
from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
from modal_gpu_magic.container.output.capture import Capture
from modal_gpu_magic.container.process.interrupt import Interrupt
from modal_gpu_magic.container.output.event_sender import EventSender
outlet = EventSender(); capture = Capture(outlet); asker = StdinProxy(outlet)
shell = make_shell(outlet, asker.ask)
outlet.begin("r", [].extend)
shell.run("1", 1)
capture.close()
print(json.dumps(sorted(set(sys.modules))))
"""


def test_making_a_shell_loads_nothing_heavy() -> None:
    """Importing it is the fork server's business; making it is paid for by every cold start."""
    ran = subprocess.run([sys.executable, "-c", PRICE], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"modal", "torch", "numpy", "pandas", "matplotlib", "ipykernel", "zmq", "ipywidgets", "rich"}
    assert not heavy & set(json.loads(ran.stdout))
