"""Widgets as values: the same widget on both sides, by the number that the front end knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.compare import widgets

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

START = "import ipywidgets"
STORIES = {
    "an output made here": [
        "HERE\nout = ipywidgets.Output()\ndisplay(out)",
        "with out:\n    print(1)\n    display(2)\nprint('after')",
        "HERE\nwith out: print(3)",
        "with out: 1 / 0",
        "out.append_stdout('more')",
        "HERE\nout.outputs",
        "out.clear_output()",
    ],
    "an output made there": [
        "out = ipywidgets.Output()\ndisplay(out)\nwith out: print(1)",
        "HERE\nwith out: print(2)",
        "HERE\nout.append_stdout('more')",
        "out.outputs",
        "HERE\nout.clear_output()",
    ],
    "a decorated function": [
        "HERE\nout = ipywidgets.Output()",
        "@out.capture()\ndef f(n): display(n)",
        "f(1)",
        "HERE\nf(2)",
    ],
    "a bar made here": [
        "HERE\nbar = ipywidgets.IntProgress(max=3)\ndisplay(bar)",
        "for i in range(4): bar.value = i",
        "HERE\nbar.value, bar.max",
        "HERE\nbar.value = 1",
        "bar.value",
    ],
    "a bar in a box": [
        "HERE\nbar = ipywidgets.IntProgress(max=3)\nlabel = ipywidgets.Label('a')\nbox = ipywidgets.HBox([bar, label])\nbox",
        "box.children[1].value = 'b'\nbox.children[0] is bar, box.children[0].value",
        "HERE\nlabel.value, box.children[0] is bar",
        "box.layout.width = '10px'",
        "HERE\nbox.layout.width",
    ],
    "one that is made of options": [
        "choice = ipywidgets.Dropdown(options=[('one', 1), ('two', 2)], value=2)",
        "HERE\nchoice.value, choice.label, choice.options",
        "HERE\nchoice.value = 1",
        "choice.value",
        "HERE\nchoice.options = [3, 4]",
        "choice.options, choice.value",
    ],
    "many kinds": [
        "kinds = [ipywidgets.FloatSlider(1.5), ipywidgets.Text('t'), ipywidgets.Checkbox(True), ipywidgets.HTML('<b>')]",
        "HERE\n[each.value for each in kinds]",
        "kinds[0].value = 2.5",
        "HERE\nkinds[0].value, [type(each).__name__ for each in kinds]",
    ],
    "read and not changed": ["HERE\nw = ipywidgets.Text('t')\nsame = w", "w.value", "HERE\nsame is w"],
    "changed, it stays itself": ["HERE\nw = ipywidgets.Text('t')\nsame = w", "w.value = 'u'", "HERE\nsame is w, same.value"],
    "a class of the notebook's": [
        "class Mine(ipywidgets.VBox):\n    def __init__(self, n):\n        super().__init__([ipywidgets.Label(str(n))])\n        self.n = n",
        "HERE\nmine = Mine(3)",
        "mine.n, mine.children[0].value",
        "mine.children[0].value = 'four'",
        "HERE\nmine.children[0].value, mine.n",
    ],
    "closed": ["HERE\nw = ipywidgets.Text('t')\nw.close()", "w.value", "HERE\nw.value"],
}  # fmt: skip


@pytest.mark.parametrize("cells", STORIES.values(), ids=STORIES.keys())
def test_a_widget_is_the_same_on_both_sides(pair: Pair, cells: list[str]) -> None:
    """What the front end is told is compared as well, so those of the dashboard and of notifications stay out."""
    pair.kernel.run("%config ModalGpu.dashboard = False\n%config ModalGpu.notify = False")
    for cell in ("HERE\n" + START, START, *cells):
        here = cell.removeprefix("HERE\n")
        native = pair.native.run(here if here != cell else f"# %%modal_gpu T4\n{cell}", answers=())
        ours = pair.kernel.run(here, answers=()) if here != cell else pair.kernel.remote(cell, "T4", answers=())
        assert (cell, widgets(ours)) == (cell, widgets(native))


def test_a_click_reaches_a_button_that_was_made_there(kernel: Kernel) -> None:
    """The front end's messages go to the kernel: what listens to them is made with the widget."""
    kernel.remote("import ipywidgets\nbutton = ipywidgets.Button()", "T4", answers=())
    kernel.run("clicks = []\nbutton.on_click(clicks.append)\nbutton.click()", answers=())
    assert kernel.print("clicks == [button], button.comm.kernel is not None") == "True True"


def test_a_front_end_s_change_is_seen_there(kernel: Kernel) -> None:
    kernel.remote("import ipywidgets\nslider = ipywidgets.IntSlider(3)", "T4", answers=())
    kernel.run("slider.set_state({'value': 7})", answers=())
    assert kernel.remote("slider.value", "T4", answers=()).value() == "7"
