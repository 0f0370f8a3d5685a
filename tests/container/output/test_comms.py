"""Widgets made in a cell: a bar of `tqdm.notebook` moves by comm messages that belong to what was displayed."""

from __future__ import annotations

from tests.container.far_side import FarSide, Ran


def comms(ran: Ran, kind: str) -> list[dict[str, object]]:
    return [event.content["content"] for event in ran.events if event.kind == kind]


def test_a_notebook_bar_moves(shared: FarSide) -> None:
    ran = shared.run("from tqdm.auto import tqdm\nfor i in tqdm(range(3), mininterval=0): pass")
    assert ran.text("stderr") == ""
    opened = {content["comm_id"]: content for content in comms(ran, "comm_open")}
    assert {content["target_name"] for content in opened.values()} == {"jupyter.widget"}
    (shown,) = [event.content["data"] for event in ran.events if event.kind == "display_data"]
    assert shown["application/vnd.jupyter.widget-view+json"]["model_id"] in opened
    states = [content["data"]["state"] for content in comms(ran, "comm_msg")]  # type: ignore[index]
    assert 3 in [state.get("value") for state in states]
    assert ran.kinds().index("comm_open") < ran.kinds().index("display_data")


def test_binary_buffers_travel_beside_the_state(shared: FarSide) -> None:
    ran = shared.run("import ipywidgets\nimage = ipywidgets.Image(value=b'abc', format='png')")
    (opened,) = [e.content for e in ran.events if e.kind == "comm_open" and e.content["buffers"]]
    assert opened["buffers"] == [b"abc"]
    assert opened["metadata"]["version"]
    assert shared.run("image.value = b'd'; image.close()").kinds() == ["comm_msg", "comm_close"]


def test_a_change_in_a_later_cell_is_that_cell_s(shared: FarSide) -> None:
    shared.run("import ipywidgets\nslider = ipywidgets.IntSlider(3)")
    (message,) = comms(shared.run("slider.value = 4"), "comm_msg")
    assert message["data"]["state"] == {"value": 4}  # type: ignore[index]


def test_without_ipywidgets_a_bar_is_text_and_nothing_complains(far: FarSide) -> None:
    ran = far.run(
        "import sys\nsys.modules['ipywidgets'] = sys.modules['comm'] = None\n"
        "from tqdm.auto import tqdm\nfor i in tqdm(range(3), mininterval=9): pass"
    )
    assert "3/3" in ran.text("stderr")
    assert "Warning" not in ran.text("stderr")
    assert (ran.ename, far.run("1").result) == ("", "1")
