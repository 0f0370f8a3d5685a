"""The picker's Python side: its line is the page's, its facts are the catalog's, and what Modal has not is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from traitlets import TraitError

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.line.models import read_model
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.clusters import refusal
from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.plan.machine.quote import dollars, quote, rate
from modal_gpu_magic.plan.machine.recommend import per_hour, ranking
from modal_gpu_magic.session.facade import Session
from modal_gpu_magic.ui.widgets import offers
from modal_gpu_magic.ui.widgets.picker import GpuPicker
from tests.checks.sources import ROOT

CASES: list[dict[str, Any]] = json.loads((ROOT / "js" / "tests" / "line_cases.json").read_text("utf-8"))

DOLLARS: list[tuple[float, str]] = json.loads((ROOT / "js" / "tests" / "dollars_cases.json").read_text("utf-8"))


@pytest.mark.parametrize(("amount", "text"), DOLLARS)
def test_the_page_writes_amounts_as_python_does(amount: float, text: str) -> None:
    assert dollars(amount) == text


@pytest.mark.parametrize("case", CASES, ids=[case["line"] for case in CASES])
def test_the_line_is_the_page_s(case: dict[str, Any]) -> None:
    picker = GpuPicker(case["spec"], nodes=case["nodes"], image=case["image"], region=case["region"])
    picker.set_trait("inherited_image", case["inherited"])
    picker.set_trait("inherited_region", case["inherited_region"])
    assert picker.line == case["line"]
    line = parse(picker.line)
    assert (",".join(map(str, line.specs)), line.options.nodes or 1) == (case["spec"], case["nodes"])


def test_every_gpu_of_the_catalog_is_there_with_its_facts() -> None:
    rows = GpuPicker().rows
    assert [(row["name"], row["vram"], row["max"], row["strict"]) for row in rows] == [
        (gpu.name, gpu.vram_gb, gpu.max_count, gpu.strict) for gpu in GPUS.values()
    ]


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("region", "eu west!", "region"),
        ("spec", "H1OO", "did you mean H100"),
        ("spec", "A10:8", "A10"),
        ("nodes", 4, "write H100:8"),
        ("nodes", 99, "32"),
    ],
)
def test_what_modal_has_not_raises_and_changes_nothing(trait: str, value: object, words: str) -> None:
    picker = GpuPicker("H100:2")
    with pytest.raises(TraitError, match=words):
        setattr(picker, trait, value)
    assert (picker.spec, picker.nodes, picker.line) == ("H100:2", 1, "H100:2")


def test_a_cluster_keeps_whole_nodes() -> None:
    picker = GpuPicker("H100:8", nodes=4)
    with pytest.raises(TraitError, match="whole nodes"):
        picker.spec = "H100:2"
    assert picker.line == "H100:8 --nodes 4 --torchrun"


def test_changes_are_observed_and_names_are_the_catalog_s() -> None:
    picker, seen = GpuPicker("L4"), list[str]()
    picker.observe(lambda change: seen.append(change["new"]), "line")
    picker.spec = "a100-80gb:2 L4"
    assert (picker.spec, seen) == ("A100-80GB:2,L4", ["A100-80GB:2 L4"])


def test_every_price_of_the_page_is_the_quote_of_what_it_stands_for() -> None:
    """One GPU or many, one node or a cluster; and the larger place is the higher price."""
    seen = dict[int, float]()
    for row in offers.rows():
        gpu = GPUS[row["name"]]
        single = [(GpuSpec(gpu.name, count), 1) for count in range(1, gpu.max_count + 1)]
        whole = GpuSpec(gpu.name, gpu.max_count)
        clusters = [(whole, nodes) for nodes in range(2, 33) if refusal([whole], nodes) is None]
        for offered, prices in ((single, row["prices"]), (clusters, row["cluster_prices"])):
            assert len(offered) == len(prices)
            for (spec, nodes), (text, broad, narrow, place) in zip(offered, prices, strict=True):
                price = per_hour(spec, nodes) or 0
                assert text == rate(price)
                assert (broad, narrow) == (rate(price * 1.5), rate(price * 1.75))
                assert broad == rate((quote(spec, region="eu").per_hour or 0) * nodes)
                assert seen.setdefault(place, price) == price
    assert [seen[place] for place in sorted(seen)] == sorted(seen.values())


def test_the_page_s_order_is_recommend_s() -> None:
    for size in offers.SIZES:
        for task, _ in offers.TASKS:
            assert [entry[:4] for entry in offers.rankings()[size][task]] == [
                [each.spec.name, each.spec.count, each.nodes, each.least] for each in ranking(read_model(size), task)
            ]
    assert [entry[0] for entry in offers.rankings()[offers.NO_MODEL]][:3] == ["T4", "L4", "A10"]


@pytest.mark.parametrize("name", GPUS)
def test_a_card_says_bandwidth_interconnect_capability_and_last_the_date(name: str) -> None:
    gpu, row = GPUS[name], next(row for row in offers.rows() if row["name"] == name)
    facts = dict(row["facts"])
    assert facts["Memory bandwidth"] == f"{gpu.bandwidth_gbps:,} GB/s"
    assert facts["Compute capability"] == gpu.compute_capability
    assert facts["Interconnect"].startswith(gpu.form)
    assert ("RDMA" in facts["Interconnect"]) == gpu.rdma
    assert "in a broad region $" in facts["Price of one"]
    assert "modal.com/docs/guide/region-selection" in facts["Price of one"]
    assert row["facts"][-1] == ["Price seen", f"{gpu.price_date}, modal.com/pricing"]


def test_the_strip_s_price_is_the_cards_and_nothing_has_run() -> None:
    session = Session(Machine.of("H100:2"), backend="local")
    strip = GpuPicker("H100:2", session=session).strip
    row = next(row for row in offers.rows() if row["name"] == "H100")
    assert strip["price"] == row["prices"][1][0] == rate(session.about.hourly)
    assert strip["state"] == "new"
    assert GpuPicker("H100:2").strip is None


def test_use_is_answered_and_says_what_came_of_it() -> None:
    lines, sent = list[str](), list[Any]()
    picker = GpuPicker("L4", use=lines.append)
    picker.send = lambda content, _buffers=None: sent.append(content)
    picker._on_message(picker, {"type": "use", "line": "L4 --region eu"}, [])
    assert (lines, sent, picker.said) == (
        ["L4 --region eu"],
        [{"type": "used"}],
        "Cells with %%modal_gpu now run on this machine.",
    )


def test_a_session_s_image_and_region_are_chosen_and_another_image_is_written() -> None:
    """A header inherits the session's image: `torch` must be written where the session has another."""
    session = Session(Machine.of("L4", image="slim", region="eu"), backend="local")
    picker = GpuPicker("L4", session=session)
    assert picker.line == "L4 --image slim --region eu"
    picker.image = "torch"
    assert picker.line == "L4 --image torch --region eu"
    session.machine = Machine.of("L4")
    picker.follow(session)
    assert picker.line == "L4 --region eu"


def test_anywhere_takes_back_a_session_s_region() -> None:
    session = Session(Machine.of("L4", region="eu"), backend="local")
    picker = GpuPicker("L4", use=lambda _line: None, session=session)
    picker.region = ""
    assert picker.line == "L4 --region any"
    session.machine = Machine.of("L4")
    picker._update(None)
    assert picker.line == "L4"
