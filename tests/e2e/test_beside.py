"""While a cell of ours blocks the kernel, it answers what a page asks that is loaded then; all else has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.kernel import Kernel

CELL = "%%modal_gpu\nimport os, time\nprint('runs')\nwhile not os.path.exists({!r}): time.sleep(0.01)"
CONTROL: dict[str, Any] = {"comm_id": "page", "target_name": "jupyter.widget.control", "data": {}}
STATES: dict[str, Any] = {"comm_id": "page", "data": {"method": "request_states"}}
LOADING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("kernel_info_request", {}),
    ("comm_info_request", {"target_name": "jupyter.widget"}),
    ("comm_open", CONTROL),
    ("comm_msg", STATES),
)


def test_what_a_page_asks_when_it_is_loaded_is_answered_and_the_rest_waits(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run("import ipywidgets\nslider = ipywidgets.IntSlider()")
    enough = tmp_path / "enough"
    replies, published = kernel.beside(
        CELL.format(str(enough)),
        ("complete_request", {"code": "pri", "cursor_pos": 3}),
        *LOADING,
        during=("kernel_info_reply", "comm_info_reply", "update_states"),
        then=enough.touch,
    )
    assert replies == ["kernel_info_reply", "comm_info_reply", "execute_reply", "complete_reply"]
    assert "update_states" in published
    states = [said for said in published if said in ("busy", "idle")]
    assert states[-2:] == ["busy", "idle"], "the cell's own end; until then the kernel is busy"
    assert len(states) > 2


def test_a_cell_of_the_notebook_s_own_is_left_as_it_is(kernel: Kernel) -> None:
    replies, _ = kernel.beside("import time\nprint('runs')\ntime.sleep(1)", LOADING[0])
    assert replies == ["execute_reply", "kernel_info_reply"]
    assert kernel.remote("1 + 1").value() == "2"


NESTED = """
import os, time
get_ipython().run_cell("%%modal_gpu --quiet --session other\\n1")
print('runs')
while not os.path.exists({!r}): time.sleep(0.01)
"""


def test_a_remote_cell_within_a_cell_leaves_that_one_as_it_was(kernel: Kernel, tmp_path: Path) -> None:
    """While a background cell runs, a page that is loaded is answered beside any cell."""
    enough = tmp_path / "enough"
    assert kernel.remote(f"import os, time\nwhile not os.path.exists({str(enough)!r}): time.sleep(0.01)", "--bg far").ok
    replies, _ = kernel.beside(NESTED.format(str(enough)), LOADING[0], during=("kernel_info_reply",), then=enough.touch)
    assert replies == ["kernel_info_reply", "execute_reply"]
    assert kernel.run("far.result()").ok


SLOW_TO_APPLY = """
import os, threading, time
begun = {!r}
import modal_gpu_magic.session.run.settling as settling
apply = settling.apply_late_answer
def apply_slowly(*arguments):
    time.sleep(0.4)
    apply(*arguments)
settling.apply_late_answer = apply_slowly
fetched = []
def fetch_soon():
    while not os.path.exists(begun):
        time.sleep(0.01)
    fetched.append(far.fetch())
thread = threading.Thread(target=fetch_soon)
thread.start()
"""


def test_a_fetch_of_a_thread_during_a_cell_waits_for_it_and_writes_nothing_itself(
    kernel: Kernel, tmp_path: Path
) -> None:
    assert kernel.remote("far = dict(x=1)", "T4 --fetch 0").ok
    assert kernel.run(SLOW_TO_APPLY.format(str(tmp_path / "begun"))).ok
    kernel.send("%%modal_gpu T4\nopen(begun, 'w').close()\ntime.sleep(0.8)\nitems = [1, 2]\nnumber = 1\nitems")
    changed = kernel.run("items.append(99); number = 2; kept = items; thread.join(60); time.sleep(0.6)")
    assert changed.ok, changed.traceback
    assert kernel.print("(items, number, items is kept, fetched)") == "([1, 2, 99], 2, True, [{'x': 1}])"
    assert kernel.run("settling.apply_late_answer = apply").ok
    assert kernel.remote("far, items, number", "T4").value() == "({'x': 1}, [1, 2, 99], 2)"
