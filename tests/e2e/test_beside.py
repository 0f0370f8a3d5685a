"""While a cell of ours blocks the kernel, it answers what a page asks that is loaded then; all else has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

CELL = "%%modal_gpu\nimport time\nprint('runs')\ntime.sleep(3)"
CONTROL: dict[str, Any] = {"comm_id": "page", "target_name": "jupyter.widget.control", "data": {}}
STATES: dict[str, Any] = {"comm_id": "page", "data": {"method": "request_states"}}
LOADING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("kernel_info_request", {}),
    ("comm_info_request", {"target_name": "jupyter.widget"}),
    ("comm_open", CONTROL),
    ("comm_msg", STATES),
)


def test_what_a_page_asks_when_it_is_loaded_is_answered_and_the_rest_waits(kernel: Kernel) -> None:
    kernel.run("import ipywidgets\nslider = ipywidgets.IntSlider()")
    replies, published = kernel.beside(CELL, ("complete_request", {"code": "pri", "cursor_pos": 3}), *LOADING)
    assert replies == ["kernel_info_reply", "comm_info_reply", "execute_reply", "complete_reply"]
    assert "update_states" in published
    states = [said for said in published if said in ("busy", "idle")]
    assert states[-2:] == ["busy", "idle"], "the cell's own end; until then the kernel is busy"
    assert len(states) > 2


def test_a_cell_of_the_notebook_s_own_is_left_as_it_is(kernel: Kernel) -> None:
    replies, _ = kernel.beside("import time\nprint('runs')\ntime.sleep(1)", LOADING[0])
    assert replies == ["execute_reply", "kernel_info_reply"]
    assert kernel.remote("1 + 1").value() == "2"
