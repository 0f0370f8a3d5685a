"""Names and texts from elsewhere in every view of the page: they are seen as text, and no script of theirs runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.ui.hostile import HOSTILE, MARK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.lab import Notebook

LOAD = f"""%load_ext modal_gpu_magic
texts = {list(HOSTILE.values())!r}
"""
STATIC = """
from IPython.display import display
from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.plan.table import Column, Row, Table
from modal_gpu_magic.ui.fronts.card import Card, Detail, Moment, card_bundle
from modal_gpu_magic.ui.fronts.picture import charts
from modal_gpu_magic.ui.fronts.ranks import bundle
from modal_gpu_magic.wire.values.remote import RemoteValue

for text in texts:
    history = History()
    for at in range(3):
        history.add(Reading((GpuSample(at, 0, f"GPU-{text}", text, driver=text, pstate=text, utilization=5.0),)))
    card = Card(text, (text, text), Moment(text, text, text, text, text), (Detail(text, (text,), text),))
    display(card_bundle(card, charts(history)), raw=True)
    display(bundle({0: text, 1: text}), raw=True)
    display(Table((Column(text), Column(text)), (Row((text, text), text),), (text,)))
    display(RemoteValue(text, text, text, text, text, {"text/html": "<p>own</p>"}))
"""
LIVE = """
import json, time
from IPython.display import display
from modal_gpu_magic.metrics.host import HostSample
from modal_gpu_magic.metrics.processes import GpuProcess
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.ui.fronts.ranks import Tabs
from modal_gpu_magic.ui.widgets.dashboard import Dashboard, Shown
from modal_gpu_magic.ui.widgets.picker import GpuPicker

shown = []
for text in texts:
    state = Shown("running", text, time.time(), text, text, got=text, detail=text, notices=(text, text))
    dashboard = Dashboard(state, print)
    display(dashboard)
    gpu = GpuSample(time.time(), 0, text, text, driver=text, utilization=5.0)
    dashboard.sample(Reading((gpu,), HostSample(5.0), (GpuProcess(text, 1, 5.0, text), GpuProcess("GPU-x", 2, None, text))))
    dashboard.show(phase=text, detail=text + text)
    picker = GpuPicker(image=text, said=text)
    picker.images = ["torch", text]
    picker.strip = dict(session=text, title=text, got=text, backend=text, simulated=True, price=text, rate=1.0,
                        spent=1.0, state=text, since=time.time(), idle_until=None, outcome=text, now=time.time())
    offers = json.loads(picker.offers)
    for row in offers["rows"]:
        row.update(best=text, facts=[[text, text], *row["facts"]], prices=[[text, text, place] for *_, place in row["prices"]])
    picker.offers = json.dumps(offers)
    display(picker)
    tabs = Tabs(lambda bundle, update: display(bundle, raw=True))
    tabs.take(0, "stream", {"name": "stdout", "text": text})
    shown += [dashboard, picker, tabs]
"""


def test_no_script_of_any_text_runs(notebook: Callable[..., Notebook]) -> None:
    opened = notebook(LOAD, STATIC, LIVE)
    opened.run(0)
    for index in (1, 2):
        opened.run(index)
        assert "Traceback" not in opened.text(index)
    pickers = opened.output(2).get_by_text(HOSTILE["an image"])
    expect(pickers.first).to_be_visible(timeout=30_000)
    expect(opened.output(1).get_by_text(HOSTILE["a script"]).first).to_be_visible()
    handlers = "[onmouseover], [onfocus], [onload], [onerror], iframe, a[href^=javascript]"
    assert [each.evaluate("it => it.outerHTML") for each in opened.output(2).locator(handlers).all()] == []
    assert opened.page.evaluate(MARK) is None
