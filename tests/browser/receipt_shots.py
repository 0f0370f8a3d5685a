"""Pictures of a receipt in each state, light and dark, narrow and wide: `python -m tests.browser.receipt_shots FOLDER`.

Look at the pictures, and mend what is ugly.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tests.browser.lab import Notebook
from tests.browser.shots import browser_page

STATES: Final = """\
import math, time
from datetime import timezone
from IPython.display import display
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.plan.machine.advice import Advice
from modal_gpu_magic.session.run.phases import PhaseTime
from modal_gpu_magic.session.run.receipt import Receipt
from modal_gpu_magic.ui.fronts.card import Card, card_bundle
from modal_gpu_magic.ui.fronts.picture import charts
from modal_gpu_magic.ui.fronts.receipt import Container, container_after, receipt_card

def readings(gpus, nodes=1, seconds=90, **facts):
    history = History()
    for at in range(seconds):
        for node in range(nodes):
            history.add(Reading(tuple(
                GpuSample(at, index, None, "NVIDIA H100 80GB HBM3", 60 + 35 * math.sin(at / 9 + index + node), None,
                          9000 + 60 * at + 500 * index, 81559, 500 + 99 * math.sin(at / 9 + index), None,
                          60 + at / 9, node=node)
                for index in range(gpus))))
    return history

def show(outcome="done", asked="H100", backend="cloud", simulated=False, container=None, readings=History(), **facts):
    base = dict(waited=2.0, started=4.0, ran=90.0, hourly=3.95, idle_seconds=300, ended_at=time.time(),
                prices="prices of 2026-09-01", readings=readings, uses=readings.uses)
    receipt = Receipt(outcome, asked, backend, simulated, **{**base, **facts})
    display(card_bundle(receipt_card(receipt, container or container_after(receipt), timezone.utc), charts(readings)), raw=True)

long = "a_rather_long_name_of_a_variable_that_holds_a_model_of_many_layers"
show(got="H100", readings=readings(1), sent_bytes=12_000_000, received_bytes=3_400_000_000, advice=Advice(GpuSpec("L4"), 3.15))
show("failed", asked="H100:8", got="H200:8", hourly=31.6, readings=readings(8), container=Container("ended", time.time()))
show("stopped", asked="2 x H100:8 B200:8", got="2 x H100:8", hourly=63.2, readings=readings(8, 2),
     phases=(PhaseTime("waiting", 95.0), PhaseTime("starting", 31.0), PhaseTime("installing", 12.0),
             PhaseTime("starting ranks", 9.0), PhaseTime("running", 90.0), PhaseTime("saving", 3.0)))
show("timed out", asked="L4 T4", got="T4", container=Container("reused", time.time()))
show("lost", ran=None, idle_seconds=0)
show(asked="CPU", hourly=0.05)
show(asked="H100:2 L4", backend="local", simulated=True)
show(asked="H100", backend="local", got="H100")
show(hourly=None, session=long, wrote=tuple((f"{long}/{long}-{n}.safetensors", 5 * 10**9) for n in range(7)),
     stays=((long, "5.1 GB, over --fetch 256MB"), ("big", "300 MB, over --fetch 256MB"), ("lock", "it does not pickle: a lock")))
display(card_bundle(Card("", ("embed", "L40S", "predict(x)", "start 4.0 s"))), raw=True)
display(card_bundle(Card("stopped", ("H100:2", "before the cell ran"))), raw=True)
"""
SIZES: Final = ((390, 5600), (800, 2800), (1400, 2000))


def main(folder: Path) -> None:
    """Take them all."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser_page(1400, 900) as (page, lab):
        notebook = Notebook(page, lab.address(lab.write("receipts.ipynb", [STATES])))
        notebook.run(0)
        notebook.page.evaluate("window.jupyterapp.shell.collapseLeft()")
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            for theme in ("Light", "Dark"):
                notebook.theme(f"JupyterLab {theme}")
                for name, is_open in (("folded", False), ("open", True)):
                    page.evaluate(
                        "open => document.querySelectorAll('details').forEach(it => { it.open = open; })", is_open
                    )
                    to = folder / f"{width}-{theme.lower()}-{name}.png"
                    notebook.output(0).screenshot(path=to)
        notebook.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
