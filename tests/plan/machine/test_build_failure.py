"""What is said about an image that could not be built."""

from __future__ import annotations

import pytest

from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.plan.machine.build_failure import LINES, explain
from modal_gpu_magic.plan.machine.definition import inherit

CASES = {
    "asked by the header": (
        "--pip einops==99",
        "=> Step 1: RUN python -m pip install einops==99\nERROR: No matching distribution found for einops==99",
        ["in its layer `RUN python -m pip install einops==99`", "no einops==99", "--pip einops."],
    ),
    "our pin": (
        "",
        "ERROR: Could not find a version that satisfies the requirement mine==1.2 (from versions: none)",
        ["no mine==1.2 for Linux, the version of this notebook", "--pip mine"],
    ),
    "a package below": ("", "ERROR: No matching distribution found for deep>=3", ["--pip deep==VERSION"]),
    "Debian": ("--apt ffmpegg", "E: Unable to locate package ffmpegg", ["no package ffmpegg", "--apt"]),
    "conflict": ("", "ERROR: ResolutionImpossible: for help visit", ["exclude each other"]),
    "compiled": ("", "error: Failed building wheel for pkg", ["no wheel"]),
    "a command": ("--run 'false'", "#5 RUN false\nexit status 1", ["in its layer `RUN false`", "--run"]),
    "nothing known": ("", "", ["the last lines"]),
}


@pytest.mark.parametrize("line, log, parts", CASES.values(), ids=CASES)
def test_the_layer_and_what_to_change(line: str, log: str, parts: list[str]) -> None:
    text = explain(log, inherit(None, parse(line), {}, {}), ("mine==1.2",))
    for part in parts:
        assert part in text


def test_the_end_of_the_log_is_shown() -> None:
    log = "\n".join(f"line {number}" for number in range(100))
    shown = explain(log, inherit(None, parse(""), {}, {}), ()).splitlines()[1:]
    assert shown == [f"line {number}" for number in range(100 - LINES, 100)]
