"""A container whose clock is two minutes wrong: durations and the cost are differences of one clock."""

from __future__ import annotations

import re
import time
from typing import Final

import pytest

from tests.cloud.cloud import cloud
from tests.e2e.kernel import Kernel

SECONDS: Final = re.compile(r"([\d.]+) (ms|s)\b")
MINUTES: Final = re.compile(r"\b\d+:\d\d\b(?! UTC)")
"""A duration of a minute or more; times of day have their zone."""

SPENT: Final = "next(each for each in __import__('gc').get_objects() if type(each).__module__ == 'modal_gpu_magic.session.facade' and hasattr(each, 'status')).status.standing.spent"
HOURLY: Final = 50.0
"""More than the price of eight H100, USD."""


@pytest.mark.parametrize("ahead", [120.0, -120.0])
def test_no_duration_shows_it(ahead: float) -> None:
    with cloud(clock=ahead) as far, Kernel(env=far.environ) as kernel:
        kernel.load()
        began = time.monotonic()
        difference = kernel.remote("import time\nfar = time.time()", "H100:8", timeout=100)
        assert difference.ok, difference.error
        assert abs(float(kernel.print("far - __import__('time').time()")) - ahead) < 60
        warm = kernel.remote("time.sleep(0.5)", "H100:8")
        for result in (difference, warm):
            receipt = result.notes[-1].text
            assert not MINUTES.search(receipt), receipt
            found = [float(number) / (1000 if unit == "ms" else 1) for number, unit in SECONDS.findall(receipt)]
            assert 0 < max(found) < result.seconds, receipt
        assert "starting " not in warm.notes[-1].text
        assert 0 < float(kernel.print(SPENT)) < HOURLY * (time.monotonic() - began) / 3600
