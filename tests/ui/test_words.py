"""What the two widgets leave where widgets are not shown, and what Colab is told so that it shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ui.shell import in_shell

if TYPE_CHECKING:
    from pathlib import Path

WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = """
from modal_gpu_magic.session.run.front import About, State
from modal_gpu_magic.ui.fronts.live import Live
from modal_gpu_magic.ui.widgets.origin import Origin
from modal_gpu_magic.ui.widgets.picker import GpuPicker
live = Live(About("H100:2", "local"), lambda: None, Origin())
out["dashboard"] = live.open(State("running", "H100:2", 3.0))
out["picker"] = GpuPicker("H100:2,L4", image="slim")._repr_mimebundle_()
"""
COLAB = """
import sys, types
output = types.ModuleType("google.colab.output")   # what of it anywidget asks for, as colabtools has it
output._widgets = types.SimpleNamespace(_installed_url=None)
def enable():
    output._widgets._installed_url = "https://colab/manager.min.js"
output.enable_custom_widget_manager = enable
sys.modules["google.colab.output"] = output
"""


def test_a_sentence_instead_of_a_widget(tmp_path: Path) -> None:
    shown = in_shell(tmp_path, LIVE)
    (dashboard, nothing), (picker, _) = shown["dashboard"], shown["picker"]
    assert nothing == {}
    assert dashboard[WIDGET]["model_id"]
    assert dashboard["text/plain"].startswith("running on H100:2\n")
    assert "Interrupt the kernel (■) to stop the cell" in dashboard["text/plain"]
    assert picker["text/plain"].startswith("%%modal_gpu H100:2 L4 --image slim\n")
    assert "%modal_gpu gpus lists the GPUs" in picker["text/plain"]


def test_colab_is_told_who_draws_widgets_that_are_not_its_own(tmp_path: Path) -> None:
    shown = in_shell(tmp_path, COLAB + LIVE)
    for _, metadata in shown.values():
        assert metadata[WIDGET]["colab"]["custom_widget_manager"]["url"] == "https://colab/manager.min.js"
