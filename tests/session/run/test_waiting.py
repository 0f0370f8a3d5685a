"""Why a run has not begun: only what is known, and what would help."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.sdk.choice import Kind
from modal_gpu_magic.session.run.waiting import image_words, queue_words

NONE_YET = "Modal has given no container yet."


@pytest.mark.parametrize(
    "kind, specs, options, words",
    [
        ("cloud", ["H100:2"], {}, f"{NONE_YET} A fallback may come sooner: `H100:2 A100-80GB:2`."),
        ("cloud", ["L4"], {}, f"{NONE_YET} A fallback may come sooner: `L4 A10`."),
        ("cloud", ["H100", "L4", "T4"], {}, f"{NONE_YET} L4 T4 would run it, too."),
        (
            "cloud",
            ["H100!", "L4"],
            {"region": "us-east"},
            f"{NONE_YET} L4 would run it, too. Without the `!`, H200 could run it. Only us-east is asked.",
        ),
        ("cloud", ["H100:8"], {"nodes": 2}, f"{NONE_YET} All 2 nodes come together."),
        ("cloud", [], {}, NONE_YET),
        ("local", ["H100"], {}, "Other containers hold this machine's GPUs: the cell starts when enough are free."),
        ("local", [], {}, ""),
    ],
)
def test_what_it_waits_for(kind: Kind, specs: list[str], options: dict[str, Any], words: str) -> None:
    assert queue_words(Machine.of(*specs, **options), kind) == words


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "The image: torch. Built once, then cached."),
        (
            {"pip": ["einops"], "apt": ["git"], "run": ["echo"]},
            "The image: torch with einops, git, your commands. Built once, then cached.",
        ),
        ({"image": "slim"}, "The image: slim. Built once, then cached."),
        ({"image_object": object()}, "The image: your own. Built once, then cached."),
    ],
)
def test_what_the_image_is_made_of(options: dict[str, Any], words: str) -> None:
    assert image_words(Machine.of("L4", **options)) == words
