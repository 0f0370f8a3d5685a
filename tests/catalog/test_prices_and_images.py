"""Prices against the table of facts; presets are whole and true to the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.images import DEFAULT_PRESET, PRESETS, Preset
from modal_gpu_magic.catalog.prices import CPU, DEFAULT_CORES, MEMORY, PRICE_DATE, VOLUME

OTHER_PRICES = json.loads((Path(__file__).parent / "gpus.json").read_text())["other_prices_usd_per_second"]


def test_prices_of_the_table() -> None:
    assert CPU.usd == OTHER_PRICES["cpu_physical_core_function"]
    assert MEMORY.usd == OTHER_PRICES["memory_gib_function"]
    assert VOLUME.usd == OTHER_PRICES["volume_gib_month"]
    assert OTHER_PRICES["cpu_min_cores"] == DEFAULT_CORES


def test_the_date_on_an_estimate_is_the_oldest_that_goes_into_it() -> None:
    dates = [*(gpu.price_date for gpu in GPUS.values()), CPU.date, MEMORY.date]
    assert min(dates) == PRICE_DATE
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)


def test_presets() -> None:
    assert list(PRESETS) == ["torch", "slim", "cuda", "flash-attn", "vllm", "jax"]
    assert next(iter(PRESETS)) == DEFAULT_PRESET
    assert PRESETS["torch"].pip == ("torch",)
    assert PRESETS["cuda"].reference == "nvidia/cuda:12.8.1-devel-ubuntu24.04"
    assert all(preset.name == name and preset.help and "\n" not in preset.help for name, preset in PRESETS.items())


@pytest.mark.parametrize("fields", [{"base": "registry"}, {"reference": "ubuntu:24.04"}])
def test_a_reference_and_its_base_go_together(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="reference"):
        Preset("x", "an image", **fields)  # type: ignore[arg-type]  # the table's values are the literals
