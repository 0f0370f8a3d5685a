"""The bill of the local control plane: what its meter counts, cut into days and hours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.control_plane.servicers.workspaces import RESOLUTIONS, _intervals, _price


@given(
    st.floats(1.7e9, 1.8e9),
    st.floats(0, 200_000),
    st.sampled_from([None, "T4", "H100:8"]),
    st.sampled_from(sorted(RESOLUTIONS)),
)
def test_intervals_add_up_to_the_life(start: float, seconds: float, gpu: str | None, resolution: str) -> None:
    row: dict[str, object] = {"started_at": start, "ended_at": start + seconds, "gpu": gpu}
    parts = _intervals(row, RESOLUTIONS[resolution])
    assert sum(dollars for _, dollars in parts) == pytest.approx(seconds * _price(gpu), abs=1e-4)
    assert all(dollars >= 0 for _, dollars in parts)


def test_prices_are_the_list_s() -> None:
    assert _price("H100:2") == pytest.approx(2 * GPUS["H100"].price_per_second)
    assert 0 < _price(None) < 1e-5
