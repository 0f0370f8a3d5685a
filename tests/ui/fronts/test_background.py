"""Background cells in a plain IPython: their output is printed where it is asked for, and before the next cell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.ui.shell import in_shell

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
run("%load_ext modal_gpu_magic")
out["begun"] = run("%%modal_gpu T4 --bg train --quiet\\nprint('one')\\nx = 1\\n1 + 1")
out["waited"] = run("train.result()")
out["again"] = run("print(train.logs(), x)")
out["bad"] = run("%%modal_gpu T4 --bg bad\\nprint('two')\\n1 / 0")
from modal_gpu_magic.session.run.main_thread import MAIN_THREAD
while not MAIN_THREAD._calls: MAIN_THREAD.bell().result(30)
out["next"] = run("print('native')")
out["error"] = run("bad.result()")
out["shown"] = run("bad")
run("%unload_ext modal_gpu_magic")
"""


def test_a_terminal_prints_the_output_of_a_background_cell_below_its_name(tmp_path: Path) -> None:
    out = in_shell(tmp_path, SCRIPT)
    assert out["begun"] == ["", ""]
    assert out["waited"][0].startswith("[train]\none\nOut[2]: 2\n\n")
    assert out["again"] == ["one\n2\n 1\n", ""]
    printed, error = out["next"]
    assert error == ""
    assert printed.startswith("[bad]\ntwo\n")
    assert "ZeroDivisionError: division by zero\nfailed · T4" in re.sub(r"\x1b\[[\d;]*m", "", printed)
    assert printed.endswith("native\n")
    assert out["error"][1] == "ZeroDivisionError: division by zero"
    assert out["shown"][0].startswith("Out[8]: bad: failed · 0:0")
