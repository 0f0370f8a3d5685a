"""The picker in JupyterLab: by mouse, by keyboard, from Python, in both themes."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from modal_gpu_magic.catalog.prices import region_factor
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import rate
from modal_gpu_magic.plan.machine.recommend import per_hour, ranking
from tests.browser.lab import CELL_MS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.browser.lab import Notebook

MAKE = "from modal_gpu_magic import GpuPicker\npicker = GpuPicker({spec!r})\npicker"
pytestmark = pytest.mark.timeout(300)
WIDTHS = (1400, 800, 390)
UNTIL = "import os, time\nend = time.monotonic() + 200\nwhile not os.path.exists({!r}) and time.monotonic() < end: time.sleep(0.05)"
"""Lines that wait for a file."""
TELL = "print(picker.spec, '|', picker.nodes, '|', picker.image, '|', picker.line)"


@pytest.fixture
def picked(notebook: Callable[..., Notebook]) -> Callable[..., Notebook]:
    """A notebook with a picker in its first cell; the second tells its traits, others are the test's."""

    def open_(spec: str = "H100", *cells: str) -> Notebook:
        opened = notebook(MAKE.format(spec=spec), TELL, *cells)
        opened.run(0)
        expect(opened.cell(0).get_by_role("group", name="GPU picker")).to_be_visible()
        return opened

    return open_


def line(notebook: Notebook) -> Any:
    return notebook.cell(0).locator(".mgp-line")


def wait_for_traits(notebook: Notebook, expected: str) -> None:
    """Until the kernel has what the page shows: ipywidgets sends a change when the last one was answered."""
    end = time.monotonic() + CELL_MS / 1000
    while notebook.run(1).inner_text().strip() != expected and time.monotonic() < end:
        time.sleep(0.1)
    assert notebook.text(1).strip() == expected


def card(notebook: Notebook, name: str) -> Any:
    return notebook.cell(0).locator(".mgp-card", has=notebook.page.get_by_text(name, exact=True))


def price(spec: str, nodes: int = 1, region: str | None = None) -> str:
    """The price of an hour as every part of the widget must show it."""
    return rate((per_hour(GpuSpec.parse(spec), nodes) or 0) * region_factor(region))


def total(notebook: Notebook) -> Any:
    return notebook.cell(0).locator(".mgp-total b")


def use(notebook: Notebook) -> Any:
    return notebook.cell(0).get_by_role("button", name="Use")


def is_primary(button: Any) -> bool:
    """Whether a button is drawn in the colour of the main action."""
    probe = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).borderTopColor]"
    background, border = button.evaluate(probe)
    return bool(background == border)


def test_by_mouse(picked: Callable[..., Notebook]) -> None:
    notebook = picked()
    picker = notebook.cell(0)
    card(notebook, "A100-80GB").click()
    picker.get_by_role("button", name="More GPUs").click()
    picker.get_by_label("Add a fallback").select_option("L40S")
    picker.get_by_label("Add a fallback").select_option("H100")
    picker.get_by_role("button", name="Earlier: H100").click()
    picker.get_by_role("button", name="Remove L40S").click()
    picker.get_by_label("Image", exact=True).select_option("slim")
    expect(line(notebook)).to_have_text("%%modal_gpu A100-80GB:2 H100:2 --image slim")
    expect(total(notebook)).to_have_text(f"{price('A100-80GB:2')}, up to {price('H100:2')}")
    wait_for_traits(notebook, "A100-80GB:2,H100:2 | 1 | slim | A100-80GB:2 H100:2 --image slim")


def test_a_fallback_inherits_the_count_and_is_changed(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100:8")
    picker = notebook.cell(0)
    for name in ("A10", "L4"):
        picker.get_by_label("Add a fallback").select_option(name)
    expect(line(notebook)).to_have_text("%%modal_gpu H100:8 A10:4 L4:8")
    expect(picker.get_by_role("button", name="More A10")).to_be_disabled()
    picker.get_by_role("button", name="Fewer L4").focus()
    for _ in range(3):
        notebook.page.keyboard.press("Enter")
    expect(line(notebook)).to_have_text("%%modal_gpu H100:8 A10:4 L4:5")
    expect(picker.get_by_role("list", name="Fallbacks, in order")).to_contain_text(f"L4:5 {price('L4:5')}")


def test_by_keyboard_alone_and_no_key_leaks(picked: Callable[..., Notebook]) -> None:
    notebook = picked()
    picker, keyboard = notebook.cell(0), notebook.page.keyboard
    cells = notebook.page.locator(f"{notebook.PANEL} .jp-Cell").count()
    picker.get_by_label("Model", exact=True).focus()
    keyboard.type("dd1")
    assert notebook.page.locator(f"{notebook.PANEL} .jp-Cell").count() == cells
    keyboard.type("a")  # any size
    picker.get_by_role("radio", name="H100").focus()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowLeft")
    picker.get_by_role("switch", name="No upgrade").focus()
    keyboard.press("Space")
    picker.get_by_role("spinbutton", name="GPUs").focus()
    keyboard.press("ArrowUp")
    keyboard.press("Tab")
    expect(line(notebook)).to_have_text("%%modal_gpu H100!:2")
    for name in ("More GPUs", "Fewer Nodes", "More Nodes"):
        expect(picker.get_by_role("button", name=name)).to_be_visible()
    picker.get_by_role("button", name="Insert", exact=True).focus()
    keyboard.press("Enter")
    expect(picker.get_by_text("Replaced", exact=False).or_(picker.get_by_text("Inserted", exact=False))).to_be_visible()


def test_a_model_sets_the_count_and_the_cards_are_recommend_s(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100:8,L4")
    picker = notebook.cell(0)
    picker.get_by_label("Model", exact=True).select_option("70B")
    expect(line(notebook)).to_have_text("%%modal_gpu H100:3 L4:7")
    expect(picker.get_by_text("70B needs 168 GB: 70B × 2 bytes", exact=False)).to_be_visible()
    ranked = ranking(70e9, "inference")
    assert picker.locator(".mgp-name").all_inner_texts() == [each.spec.name for each in ranked]
    for each in ranked:
        shown = price(str(each.spec)) if each.nodes else ""
        expect(card(notebook, each.spec.name).locator(".mgp-price")).to_have_text(shown)
    cheapest = min((each for each in ranked if each.nodes == 1), key=lambda each: each.per_hour or 0).spec.name
    expect(card(notebook, ranked[0].spec.name).get_by_text("recommended")).to_be_visible()
    expect(card(notebook, cheapest).get_by_text("cheapest that fits")).to_be_visible()
    assert [picker.get_by_text(text, exact=True).count() for text in ("recommended", "cheapest that fits")] == [1, 1]
    expect(picker.get_by_role("radio", name="A10 24 GB")).to_be_disabled()
    expect(picker.get_by_text("too small: 4 have 96 GB")).to_be_visible()
    card(notebook, "H200").click()
    expect(line(notebook)).to_have_text("%%modal_gpu H200:2 L4:7")
    picker.get_by_text("Full", exact=True).click()
    expect(line(notebook)).to_have_text("%%modal_gpu H200:8 L4:8 --nodes 2 --torchrun")
    expect(card(notebook, ranking(70e9, "full")[0].spec.name).get_by_text("recommended")).to_be_visible()


def test_a_choice_that_does_not_fit_is_not_green_and_says_why(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100:2")
    picker = notebook.cell(0)
    assert is_primary(use(notebook))
    picker.get_by_label("Model", exact=True).select_option("34B")
    assert is_primary(use(notebook))
    picker.get_by_role("button", name="Fewer GPUs").click()
    expect(picker.get_by_text("Does not fit: H100 has 80 GB, and 34B needs 82 GB.")).to_be_visible()
    assert not is_primary(use(notebook))
    expect(use(notebook)).to_be_enabled()
    picker.get_by_role("button", name="More GPUs").click()
    picker.get_by_label("Add a fallback").select_option("L4")
    picker.get_by_role("button", name="Fewer L4").click()
    expect(picker.get_by_text("Does not fit: Fallback L4:3 has 72 GB, and 34B needs 82 GB.")).to_be_visible()
    assert not is_primary(use(notebook))
    picker.get_by_label("Model", exact=True).select_option("")
    picker.get_by_label("Min. VRAM per GPU").focus()
    for _ in range(4):
        notebook.page.keyboard.press("ArrowRight")
    expect(
        picker.get_by_text("Does not fit: Fallback L4 has 24 GB per GPU, less than the minimum of 32 GB.")
    ).to_be_visible()
    expect(card(notebook, "L40S").get_by_text("cheapest that fits")).to_be_visible()
    for _ in range(4):
        notebook.page.keyboard.press("ArrowLeft")
    notebook.settles(lambda: is_primary(use(notebook)))


def test_where_no_node_is_enough_nodes_are_proposed(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100")
    picker = notebook.cell(0)
    picker.get_by_label("Model", exact=True).select_option("405B")
    picker.get_by_text("Full", exact=True).click()
    expect(line(notebook)).to_have_text("%%modal_gpu H100:8 --nodes 13 --torchrun")
    best = card(notebook, "B300")
    expect(best).to_contain_text("4 nodes × 8 × 288 GB")
    expect(best).to_contain_text(price("B300:8", 4))
    expect(best.get_by_text("recommended")).to_be_visible()
    best.click()
    expect(line(notebook)).to_have_text("%%modal_gpu B300:8 --nodes 4 --torchrun")
    expect(total(notebook)).to_have_text(price("B300:8", 4))
    expect(use(notebook)).to_be_disabled()
    expect(picker.get_by_text("A cluster belongs to one cell: Insert or Copy its line.")).to_be_visible()
    assert is_primary(picker.get_by_role("button", name="Insert", exact=True))


def test_a_cluster_takes_whole_nodes_and_is_no_machine_to_use(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100:2")
    picker = notebook.cell(0)
    picker.get_by_role("button", name="More Nodes").click()
    expect(line(notebook)).to_have_text("%%modal_gpu H100:8 --nodes 2 --torchrun")
    expect(use(notebook)).to_be_disabled()
    expect(total(notebook)).to_have_text(price("H100:8", 2))


def test_facts_of_a_gpu_on_hover_and_focus_with_the_region_s_price(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100")
    picker = notebook.cell(0)
    facts = picker.get_by_role("region", name="Facts of the GPU")
    picker.get_by_label("Image", exact=True).hover()
    expect(facts).to_contain_text("Memory bandwidth: 3,350 GB/s")
    card(notebook, "L40S").hover()
    for text in (
        "Compute capability: 8.9",
        "Memory bandwidth: 864 GB/s",
        "Interconnect: PCIe, no NVLink",
        "modal.com/docs/guide/region-selection",
    ):
        expect(facts).to_contain_text(text)
    assert facts.inner_text().strip().endswith("2026-10-07, modal.com/pricing")
    picker.get_by_label("Image", exact=True).hover()
    expect(facts).to_contain_text("3,350 GB/s")
    picker.get_by_role("radio", name="H100").focus()
    notebook.page.keyboard.press("ArrowRight")
    expect(facts).to_contain_text("4,800 GB/s")
    picker.get_by_label("Region", exact=True).select_option("eu")
    expect(line(notebook)).to_have_text("%%modal_gpu H200 --region eu")
    expect(total(notebook)).to_have_text(price("H200", region="eu"))
    expect(picker.get_by_text("Pinning a region costs more", exact=False)).to_be_visible()
    assert picker.locator(".mgp-note").inner_text().rstrip().endswith("Modal's list prices of 2026-09-01, an estimate.")


def test_one_price_is_one_text_everywhere(notebook: Callable[..., Notebook]) -> None:
    """Card, total, fallback, strip, and `recommend`."""
    opened = notebook(
        "%load_ext modal_gpu_magic\n%modal_gpu use H100:8\npicker = %modal_gpu picker A100-80GB:8,H100:8\npicker",
    )
    opened.run(0)
    wanted = price("H100:8")
    expect(opened.cell(0).get_by_role("list", name="Fallbacks, in order")).to_contain_text(wanted)
    expect(card(opened, "H100").locator(".mgp-price")).to_have_text(wanted)
    card(opened, "H100").click()
    expect(total(opened)).to_have_text(wanted)
    strip = opened.cell(0).get_by_role("region", name="Session")
    expect(strip).to_contain_text(f"≈ {wanted} on Modal")


def test_insert_puts_the_line_into_the_cell_below(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100:2")
    picker = notebook.cell(0)
    below = notebook.source(1)
    press = picker.get_by_role("button", name="Insert", exact=True)
    press.click()
    expect(picker.get_by_text("Inserted into the cell below.")).to_be_visible()
    assert notebook.source(1) == f"%%modal_gpu H100:2\n{below}"
    card(notebook, "L4").click()
    expect(picker.get_by_text("Inserted into the cell below.")).to_have_count(0)
    press.click()
    expect(picker.get_by_text("Replaced %%modal_gpu H100:2 in the cell below.")).to_be_visible()
    assert notebook.source(1) == f"%%modal_gpu L4:2\n{below}"
    cells = notebook.page.locator(f"{notebook.PANEL} .jp-Cell").count()
    notebook.page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells[1].setSource('%%time\\n1')"
    )
    press.click()
    expect(picker.get_by_text("Inserted a new cell below.")).to_be_visible()
    assert (notebook.source(1), notebook.source(2)) == ("%%modal_gpu L4:2\n", "%%time\n1")
    assert notebook.page.locator(f"{notebook.PANEL} .jp-Cell").count() == cells + 1
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.content.model.sharedModel.deleteCell(1)")


def test_insert_copies_where_a_front_end_gives_no_cells(picked: Callable[..., Notebook]) -> None:
    notebook = picked("L4:2")
    picker = notebook.cell(0)
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.context.model.readOnly = true")
    before = notebook.source(1)
    picker.get_by_role("button", name="Insert", exact=True).click()
    expect(picker.get_by_text("The line is copied: paste it as the first line of a cell.")).to_be_visible()
    assert notebook.source(1) == before
    notebook.page.evaluate("window.jupyterapp.shell.currentWidget.context.model.readOnly = false")


@pytest.mark.parametrize("how", ["dies", "is restarted"])
def test_after_the_kernel_ended_strip_and_buttons_say_so_and_are_inert(
    notebook: Callable[..., Notebook], serious: Callable[[str], list[Any]], how: str
) -> None:
    opened = notebook(
        "%load_ext modal_gpu_magic\npicker = %modal_gpu picker H100:2\npicker",
        "%%modal_gpu H100:2\nprint('ran')",
        "import os\nos._exit(1)",
    )
    opened.run(0)
    opened.run(1)
    picker = opened.cell(0).locator(".mgp")
    strip = picker.get_by_role("region", name="Session")
    expect(strip.get_by_text("idle, ends in")).to_be_visible()
    if how == "dies":
        opened.start(2)
        opened.page.locator(".jp-Dialog .jp-mod-accept").click(timeout=60_000)  # JupyterLab says that it restarts it
    else:
        opened.restart()
    expect(picker.get_by_text("The kernel has ended. Run this cell again.")).to_have_count(2, timeout=60_000)
    for button in (use(opened), strip.get_by_role("button", name="Stop")):
        expect(button).to_be_disabled()
    card(opened, "L4").click()
    expect(line(opened)).to_have_text("%%modal_gpu L4:2")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        opened.theme(theme)
        assert serious(".mgp") == []
    opened.wait_until_ready()
    opened.run(0)
    expect(use(opened)).to_be_enabled()
    expect(opened.cell(0).get_by_role("region", name="Session")).to_contain_text("No session yet")
    expect(opened.cell(0).get_by_role("button", name="Stop")).to_be_disabled()


def test_a_busy_kernel_is_said(notebook: Callable[..., Notebook], tmp_path: Path) -> None:
    """A native cell blocks the kernel: Use is applied when the cell has ended."""
    begun, enough = tmp_path / "begun", tmp_path / "enough"
    opened = notebook(
        "%load_ext modal_gpu_magic\npicker = %modal_gpu picker L4\npicker",
        f"open({str(begun)!r}, 'w').close()\n{UNTIL.format(str(enough))}",
        "%modal_gpu status",
    )
    opened.run(0)
    opened.start(1)
    opened.settles(begun.exists)
    use(opened).click()
    expect(opened.cell(0).get_by_text("The kernel is busy: Use is applied when its cell has ended.")).to_be_visible()
    enough.touch()
    opened.ended(1)
    expect(opened.cell(0).get_by_text("Cells with %%modal_gpu now run on this machine.")).to_be_visible()
    card(opened, "L40S").click()
    expect(opened.cell(0).get_by_text("Cells with %%modal_gpu now run on this machine.")).to_have_count(0)
    assert "default: L4 " in opened.run(2).inner_text()


def test_python_moves_it_and_refuses_what_is_not_offered(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100", "picker.spec = 'a100-80gb:2 L4'", "picker.spec = 'A10:8'", "picker.spec = 'H1OO'")
    notebook.run(2)
    expect(line(notebook)).to_have_text("%%modal_gpu A100-80GB:2 L4")
    expect(notebook.cell(0).get_by_role("radio", name="A100-80GB")).to_be_checked()
    for cell, words in ((3, "TraitError"), (4, "did you mean H100")):
        notebook.run(cell)
        assert words in notebook.text(cell)
    expect(line(notebook)).to_have_text("%%modal_gpu A100-80GB:2 L4")


def test_use_sets_the_machine_of_the_session(picked: Callable[..., Notebook]) -> None:
    notebook = picked("L4", "%load_ext modal_gpu_magic", "%modal_gpu status")
    notebook.run(2)
    notebook.cell(0).get_by_role("button", name="Use").click()
    expect(notebook.cell(0).get_by_text("Cells with %%modal_gpu now run on this machine.")).to_be_visible()
    assert "default: L4" in notebook.run(3).inner_text()


def test_copy_puts_the_line_on_the_clipboard(picked: Callable[..., Notebook]) -> None:
    notebook = picked("L4:2")
    notebook.cell(0).get_by_role("button", name="Copy").click()
    expect(notebook.cell(0).get_by_role("button", name="Copied")).to_be_visible()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_follows_the_theme_and_can_be_read_by_all(
    picked: Callable[..., Notebook], theme: str, serious: Callable[[str], list[Any]]
) -> None:
    notebook = picked("H100:2,A100-80GB")
    notebook.theme(theme)
    notebook.cell(0).get_by_label("Model", exact=True).select_option("70B")
    page_colour = notebook.page.locator("body").evaluate(
        "e => getComputedStyle(e).getPropertyValue('--jp-layout-color1')"
    )
    probe = f"e => {{ e.style.background = '{page_colour}'; const c = getComputedStyle(e).backgroundColor; e.style.background = ''; return c; }}"
    picker = notebook.cell(0).locator(".mgp")
    assert picker.evaluate("e => getComputedStyle(e).backgroundColor") == picker.evaluate(probe)
    notebook.command("application:toggle-left-area")
    for width in WIDTHS:
        notebook.page.set_viewport_size({"width": width, "height": 950})
        assert serious(".mgp") == []
        assert picker.evaluate("e => e.scrollWidth <= e.clientWidth"), f"nothing is cut off at {width} px"
    notebook.page.set_viewport_size({"width": 1150, "height": 950})
    notebook.command("application:toggle-left-area")


def test_the_session_s_strip_moves_while_a_cell_runs_and_between_cells(
    notebook: Callable[..., Notebook], tmp_path: Path
) -> None:
    enough = tmp_path / "enough"
    opened = notebook(
        "%load_ext modal_gpu_magic\npicker = %modal_gpu picker H100:2\npicker",
        f"%%modal_gpu H100:2\n{UNTIL.format(str(enough))}",
        "print(picker.metrics['gpus'], picker.strip['state'])",
    )
    opened.run(0)
    strip = opened.cell(0).get_by_role("region", name="Session")
    opened.start(1)
    expect(strip.get_by_text(re.compile(r"running \d+:\d\d"))).to_be_visible(timeout=60_000)
    expect(strip.get_by_text("simulated")).to_be_visible()
    expect(strip.get_by_role("listitem", name="GPU 1")).to_be_visible(timeout=60_000)
    said = strip.locator(".mgs-state").inner_text()
    expect(strip.locator(".mgs-state")).not_to_have_text(said, timeout=60_000)
    expect(opened.cell(1).get_by_role("region", name="GPU dashboard")).to_be_visible(timeout=60_000)
    assert card(opened, "L4").evaluate("e => getComputedStyle(e).paddingLeft") == "10px", (
        "the dashboard's styles leave it"
    )
    enough.touch()
    opened.ended(1)
    expect(strip.get_by_text("idle, ends in")).to_be_visible(timeout=60_000)
    assert opened.run(2).inner_text().strip().endswith("2 idle")
    strip.get_by_role("button", name="Stop").click()
    expect(strip.get_by_text("ended")).to_be_visible(timeout=60_000)


def test_stop_in_the_strip_stops_the_cell_that_runs(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(
        "%load_ext modal_gpu_magic\npicker = %modal_gpu picker H100\npicker",
        "%%modal_gpu H100\nimport time\ntime.sleep(600)",
    )
    opened.run(0)
    strip = opened.cell(0).get_by_role("region", name="Session")
    opened.start(1)
    expect(strip.get_by_role("listitem", name="GPU 0")).to_be_visible(timeout=60_000)
    opened.cell(0).get_by_role("button", name="Use").click()
    expect(opened.cell(0).get_by_text("Press Use when the cell has ended")).to_be_visible()
    strip.get_by_role("button", name="Stop").click()
    assert "KeyboardInterrupt" in opened.ended(1).inner_text()


def test_it_is_a_widget_among_widgets(notebook: Callable[..., Notebook], tmp_path: Path) -> None:
    """In a box, linked to another in the page and to one in Python, and observed."""
    both = tmp_path / "both"
    opened = notebook(
        "%load_ext modal_gpu_magic\nimport ipywidgets as w\npicker = %modal_gpu picker H100",
        "text, label, seen = w.Text(), w.Label(), []\n"
        "links = w.jslink((picker, 'spec'), (text, 'value')), w.dlink((picker, 'line'), (label, 'value'))\n"
        "def see(change):\n"
        "    seen.append(change['new']['gpus'])\n"
        f"    if seen[-1] == 2: open({str(both)!r}, 'w').close()\n"
        "picker.observe(see, 'metrics')\n"
        "w.VBox([w.HBox([text, label]), picker])",
        f"%%modal_gpu H100:2\n{UNTIL.format(str(both))}",
        "print('seen', 2 in seen)",
    )
    opened.run(0)
    box = opened.run(1)
    expect(box.locator("input[type=text]")).to_have_value("H100")
    box.locator(".mgp-card", has=opened.page.get_by_text("L40S", exact=True)).click()
    expect(box.locator("input[type=text]")).to_have_value("L40S")
    expect(box.get_by_text("L40S", exact=True).and_(box.locator(".widget-label"))).to_be_visible()
    box.locator("input[type=text]").fill("A100-80GB:2")
    box.locator("input[type=text]").press("Enter")
    expect(box.locator(".mgp-line")).to_have_text("%%modal_gpu A100-80GB:2")
    opened.run(2)
    expect(opened.run(3)).to_contain_text("seen True")
