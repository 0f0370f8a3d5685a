"""How many GPUs there are for ranks, and when the session leaves them no room."""

from __future__ import annotations

import pytest

from modal_gpu_magic.container.gpu import devices

GIB = 1 << 30


@pytest.mark.parametrize(
    "told, listed, count",
    [
        ("0,1", None, 2),
        ("GPU-aa,GPU-bb,", None, 2),
        ("", "GPU 0: NVIDIA H100\nGPU 1: NVIDIA H100\nGPU 2: NVIDIA H100\n", 3),
        ("", "No devices were found\n", 0),
        ("", None, 0),
    ],
)
def test_the_gpus_that_are_there(
    told: str, listed: str | None, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("bin")
    if listed is not None:
        program = place / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{listed}'\n".replace("\n'", "\\n'").replace("\nGPU", "\\nGPU"))
        program.chmod(0o755)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PATH", f"{place}:/bin:/usr/bin" if listed else str(place))
        environment.setenv("CUDA_VISIBLE_DEVICES", told)
        assert devices.count() == count


def test_a_session_that_has_never_used_a_gpu_gives_up_nothing() -> None:
    assert devices.make_room({"x": 1}) is None


def test_a_little_held_is_no_fault() -> None:
    assert devices.no_room(0, 4 * GIB, 80 * GIB, {"model": 4 * GIB}) is None


def test_much_held_is_listed_the_largest_first() -> None:
    reason = devices.no_room(1, 40 * GIB, 80 * GIB, {"small": GIB, "model": 30 * GIB})
    assert reason is not None
    assert "GPU 1" in reason
    assert reason.index("model (") < reason.index("small (")
    assert "del model, small" in reason


def test_what_is_not_on_a_gpu_holds_nothing() -> None:
    import torch

    assert devices.holdings({"t": torch.zeros(3), "m": torch.nn.Linear(2, 2), "x": 1}) == {}
