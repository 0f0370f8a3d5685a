"""Rates and bill by the SDK's public API, from a cloud that bills what its own meter counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cloud.conftest import Far

pytestmark = pytest.mark.timeout(300)


def test_the_bill_stands_beside_the_ledger(far: Far) -> None:
    assert far.kernel.remote("import time\ntime.sleep(1)", "T4").ok
    assert far.kernel.run("%modal_gpu stop").ok
    shown = far.kernel.run("%modal_gpu costs today --bill")
    assert shown.ok, shown.error
    (bundle,) = shown.bundles("display_data")
    text = bundle["text/plain"]
    assert re.search(r"costs of today · (≈ \$|<\$0\.01)", text), text
    assert "on Modal" not in text
    assert "bill, this package's Apps" in text
    assert re.search(
        r"^total of days with a bill +(<\$0\.01|\$0\.0\d) +(<\$0\.01|\$0\.0\d) +(<\$0\.01|\$0\.0\d)$",
        text,
        re.MULTILINE,
    )
    assert "<table>" in bundle["text/html"]


def test_the_account_s_rates_are_kept_a_day(far: Far) -> None:
    assert far.kernel.remote("1", "T4").ok
    file = Path(far.kernel.home, ".local", "state", "modal-gpu-magic", "rates.json")
    far.when(file.exists)()
    kept = json.loads(file.read_text())
    assert kept["rates"]["gpu_hour_cost_h100"] == "3.949200"
    assert far.cloud.environ["MODAL_TOKEN_ID"] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    rehearsed = far.kernel.remote("1", "T4 --dry-run")
    assert "your account's rates of" in rehearsed.stdout
    assert far.kernel.run("%unload_ext modal_gpu_magic\n%load_ext modal_gpu_magic").ok
    assert (
        "Your account's rates of"
        in far.kernel.run("%modal_gpu recommend 13B lora").bundles("display_data")[0]["text/plain"]
    )
