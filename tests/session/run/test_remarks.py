"""What is said of a machine before it starts."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic import Machine, Session
from modal_gpu_magic.session.run.front import SilentFront
from modal_gpu_magic.session.run.remarks import remarks

DEARER = "A fallback costs more than L4 ($0.80/h): H100 ($3.95/h); Modal bills the GPU it gives."


@pytest.mark.parametrize(
    "specs, options, said",
    [
        (("H100",), {}, ()),
        (("H100", "A100-80GB", "L4"), {}, ()),
        (("L4", "H100"), {}, (DEARER,)),
        (
            ("H100", "A100-40GB:2", "L4"),
            {},
            ("A fallback costs more than H100 ($3.95/h): A100-40GB:2 ($4.20/h); Modal bills the GPU it gives.",),
        ),
        (
            ("T4", "L4", "A10", "L40S", "H200"),
            {},
            (
                "Each of 4 fallbacks costs more than T4 ($0.59/h), H200 at $4.54/h the most; Modal bills the GPU it gives.",
            ),
        ),
        ((), {"apt": ["git"]}, ("Not applied by the local backend: apt git.",)),
        (("L4", "H100"), {"apt": ["git"]}, ("Not applied by the local backend: apt git.", DEARER)),
    ],
)
def test_what_is_out_of_the_ordinary_is_said(
    specs: tuple[str, ...], options: dict[str, Any], said: tuple[str, ...]
) -> None:
    assert remarks(Machine.of(*specs, **options), "local") == said


def test_an_image_that_is_compiled_is_announced() -> None:
    (said,) = remarks(Machine.of("H100", image="cuda", pip=["flash-attn", "torch==2.10.0"]), "cloud")
    assert "flash-attn has no known release wheel for torch 2.10.0" in said


def test_the_cloud_applies_everything() -> None:
    assert remarks(Machine.of("H100", apt=["git"]), "cloud") == ()


def test_it_is_said_once_before_the_machine_starts() -> None:
    session, first, second = Session("L4 H100", name="dearer"), SilentFront(), SilentFront()
    try:
        session.run("pass", first)
        session.run("pass", second)
    finally:
        session.stop()
    assert first.notes == [DEARER]
    assert second.notes == []
