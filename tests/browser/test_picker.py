"""The picker in JupyterLab: by mouse, by keyboard, from Python, in both themes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.lab import CELL_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import Notebook

MAKE = "from modal_gpu_magic import GpuPicker\npicker = GpuPicker({spec!r})\npicker"
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
    expect(line(notebook)).to_have_text("%%modal_gpu A100-80GB:2 H100 --image slim")
    expect(picker.get_by_text("$5.00/h")).to_be_visible()
    wait_for_traits(notebook, "A100-80GB:2,H100 | 1 | slim | A100-80GB:2 H100 --image slim")


def test_by_keyboard_alone_and_no_key_leaks(picked: Callable[..., Notebook]) -> None:
    notebook = picked()
    picker, keyboard = notebook.cell(0), notebook.page.keyboard
    cells = notebook.page.locator(f"{notebook.PANEL} .jp-Cell").count()
    picker.get_by_label("Model", exact=True).focus()
    keyboard.type("dd7")
    assert notebook.page.locator(f"{notebook.PANEL} .jp-Cell").count() == cells
    picker.get_by_role("radio", name="H100").focus()
    keyboard.press("ArrowRight")
    keyboard.press("ArrowLeft")
    picker.get_by_role("switch", name="Strict").focus()
    keyboard.press("Space")
    picker.get_by_role("spinbutton", name="GPUs").focus()
    keyboard.press("ArrowUp")
    keyboard.press("Tab")
    expect(line(notebook)).to_have_text("%%modal_gpu H100!:2")


def test_a_model_dims_what_is_too_small_and_says_why(picked: Callable[..., Notebook]) -> None:
    notebook = picked()
    picker = notebook.cell(0)
    picker.get_by_label("Model", exact=True).select_option("70B")
    t4 = picker.get_by_role("radio", name="T4", exact=False).first
    expect(t4).to_be_disabled()
    expect(picker.get_by_text("too small: 8 have 128 GB")).to_be_visible()
    card(notebook, "H200").click()
    expect(line(notebook)).to_have_text("%%modal_gpu H200:2")


def test_a_cluster_takes_whole_nodes_and_is_no_machine_to_use(picked: Callable[..., Notebook]) -> None:
    notebook = picked("H100:2")
    picker = notebook.cell(0)
    picker.get_by_role("button", name="More Nodes").click()
    expect(line(notebook)).to_have_text("%%modal_gpu H100:8 --nodes 2 --torchrun")
    expect(picker.get_by_role("button", name="Use")).to_be_disabled()
    expect(picker.get_by_text("$63.19/h")).to_be_visible()


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
    page_colour = notebook.page.locator("body").evaluate(
        "e => getComputedStyle(e).getPropertyValue('--jp-layout-color1')"
    )
    probe = f"e => {{ e.style.background = '{page_colour}'; const c = getComputedStyle(e).backgroundColor; e.style.background = ''; return c; }}"
    picker = notebook.cell(0).locator(".mgp")
    assert picker.evaluate("e => getComputedStyle(e).backgroundColor") == picker.evaluate(probe)
    assert serious(".mgp") == []


def test_the_session_s_strip_moves_while_a_cell_runs_and_between_cells(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(
        "%load_ext modal_gpu_magic\npicker = %modal_gpu picker H100:2\npicker",
        "%%modal_gpu H100:2\nimport time\ntime.sleep(8)",
        "print(picker.metrics['gpus'], picker.strip['state'])",
    )
    opened.run(0)
    strip = opened.cell(0).get_by_role("region", name="Session")
    opened.start(1)
    expect(strip.get_by_text("running 0:0")).to_be_visible(timeout=60_000)
    expect(strip.get_by_text("simulated")).to_be_visible()
    expect(strip.get_by_role("listitem", name="GPU 1")).to_be_visible(timeout=30_000)
    said = strip.locator(".mgs-state").inner_text()
    expect(strip.locator(".mgs-state")).not_to_have_text(said, timeout=10_000)
    expect(opened.cell(1).get_by_role("region", name="GPU dashboard")).to_be_visible(timeout=20_000)
    assert card(opened, "L4").evaluate("e => getComputedStyle(e).paddingLeft") == "10px", (
        "the dashboard's styles leave it"
    )
    opened.ended(1)
    expect(strip.get_by_text("idle, ends in")).to_be_visible(timeout=10_000)
    assert opened.run(2).inner_text().strip().endswith("2 idle")
    strip.get_by_role("button", name="Stop").click()
    expect(strip.get_by_text("ended")).to_be_visible(timeout=20_000)


def test_stop_in_the_strip_stops_the_cell_that_runs(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(
        "%load_ext modal_gpu_magic\npicker = %modal_gpu picker H100\npicker",
        "%%modal_gpu H100\nimport time\ntime.sleep(100)",
    )
    opened.run(0)
    strip = opened.cell(0).get_by_role("region", name="Session")
    opened.start(1)
    expect(strip.get_by_role("listitem", name="GPU 0")).to_be_visible(timeout=60_000)
    opened.cell(0).get_by_role("button", name="Use").click()
    expect(opened.cell(0).get_by_text("Press Use when the cell has ended")).to_be_visible()
    strip.get_by_role("button", name="Stop").click()
    assert "KeyboardInterrupt" in opened.ended(1).inner_text()


def test_it_is_a_widget_among_widgets(notebook: Callable[..., Notebook]) -> None:
    """In a box, linked to another in the page and to one in Python, and observed."""
    opened = notebook(
        "%load_ext modal_gpu_magic\nimport ipywidgets as w\npicker = %modal_gpu picker H100",
        "text, label, seen = w.Text(), w.Label(), []\n"
        "links = w.jslink((picker, 'spec'), (text, 'value')), w.dlink((picker, 'line'), (label, 'value'))\n"
        "picker.observe(lambda change: seen.append(change['new']['gpus']), 'metrics')\n"
        "w.VBox([w.HBox([text, label]), picker])",
        "%%modal_gpu H100:2\nimport time\ntime.sleep(4)",
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
