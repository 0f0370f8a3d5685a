"""The picker's Python side: its line is the page's, its facts are the catalog's, and what Modal has not is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from traitlets import TraitError

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.ui.widgets.picker import GpuPicker
from tests.checks.sources import ROOT

CASES: list[dict[str, Any]] = json.loads((ROOT / "js" / "tests" / "line_cases.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["line"] for case in CASES])
def test_the_line_is_the_page_s(case: dict[str, Any]) -> None:
    picker = GpuPicker(case["spec"], nodes=case["nodes"], image=case["image"])
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
