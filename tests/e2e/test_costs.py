"""Money over days, in a real kernel: the ledger, budgets, `%modal_gpu costs`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)
SPENT: Final = (
    "sum(each.status.meter.spent for each in "
    "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__.state.sessions.values())"
)


@pytest.fixture(scope="module")
def noted() -> Iterator[Kernel]:
    """A kernel of a notebook with a name."""
    with Kernel(env={"JPY_SESSION_NAME": "/home/me/secret-folder/train.ipynb"}) as kernel:
        kernel.load()
        yield kernel


@pytest.fixture(autouse=True)
def _without_budgets(noted: Kernel) -> Iterator[None]:
    yield
    for setting in ("budget_cell", "budget_day"):
        assert noted.run(f"%config ModalGpu.{setting} = None").ok
    assert noted.run("%config ModalGpu.ledger = True").ok


def lines(kernel: Kernel) -> list[dict[str, Any]]:
    """The ledger, the last line of each record."""
    folder = Path(kernel.home, ".local", "state", "modal-gpu-magic", "ledger")
    found = [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
    return list({each["id"]: each for each in found}.values())


def spent(kernel: Kernel) -> tuple[float, float]:
    """The time, and what the meters of the kernel's sessions say then."""
    now, dollars = kernel.print(f"__import__('time').time(), {SPENT}").split()
    return float(now), float(dollars)


def total(records: list[dict[str, Any]], now: float) -> float:
    """What the ledger says that these have cost until then."""
    grown = (each["hourly"] * max(0.0, min(now, each["until"]) - each["ended"]) / 3600 for each in records)
    return float(sum(each["dollars"] for each in records) + sum(grown))


def test_the_ledger_has_what_the_meter_counts(noted: Kernel) -> None:
    assert noted.remote("word = 'hush-hush'\nimport time\ntime.sleep(0.5)", "T4").ok
    assert not noted.remote("1 / 0", "T4").ok
    assert noted.remote("2", "H100 --session other").ok
    assert noted.run("%modal_gpu stop").ok
    found = lines(noted)
    runs = [each for each in found if each["kind"] == "run"]
    assert [(each["outcome"], each["gpu"], each["session"]) for each in runs] == [
        ("done", "T4", "default"),
        ("failed", "T4", "default"),
        ("done", "H100", "other"),
    ]
    assert {each["kind"] for each in found} == {"run", "idle"}
    assert {(each["notebook"], each["backend"], each["price_date"]) for each in found} == {
        ("train.ipynb", "local", "2026-09-01")
    }
    assert runs[0]["phases"]["running"] >= 0.5
    now, dollars = spent(noted)
    assert total(found, now) == pytest.approx(dollars, abs=1e-6)
    text = json.dumps(found)
    assert "hush" not in text
    assert "1 / 0" not in text
    assert "secret-folder" not in text


def test_the_ledger_can_be_switched_off(noted: Kernel) -> None:
    before = len(lines(noted))
    assert noted.run("%config ModalGpu.ledger = False").ok
    assert noted.remote("3", "T4").ok
    assert noted.run("%modal_gpu stop").ok
    assert len(lines(noted)) == before
    assert noted.run("%config ModalGpu.budget_day = 5").ok
    refused = noted.remote("3", "T4")
    assert "Set %config ModalGpu.ledger = True" in refused.error


def test_a_budget_refuses_before_anything_starts(noted: Kernel) -> None:
    assert noted.run("%modal_gpu stop").ok
    assert noted.run("%config ModalGpu.budget_cell = 1").ok
    refused = noted.remote("print('ran')", "H100:8 --timeout 2h --session fresh")
    assert refused.error == (
        "MachineError: Not run: H100:8 at $31.59/h for 2h may cost $63.19, over budget_cell of $1.00. "
        "Fits: H100:8 for 1m53s or L4 for 1h15m (--timeout); or raise it by %config ModalGpu.budget_cell."
    )
    assert refused.stdout == ""
    assert "fresh" not in noted.run("%modal_gpu status").stdout
    rehearsed = noted.remote("4", "H100 --dry-run --session fresh")
    assert "# stops after 15m11s at the latest, by budget_cell of $1.00" in rehearsed.stdout


def test_a_day_counts_what_was_spent(noted: Kernel) -> None:
    assert noted.remote("5", "T4").ok
    assert noted.run("%config ModalGpu.budget_day = 0.02").ok
    refused = noted.remote("6", "T4")
    assert "over budget_day of $0.02 (" in refused.error
    assert "spent before" in refused.error


def test_a_background_cell_has_the_same_budgets(noted: Kernel) -> None:
    assert noted.remote("0", "T4").ok  # a warm container
    assert noted.run(f"%config ModalGpu.budget_cell = {0.5904 * 7 / 3600}").ok
    assert noted.remote("import time\nwhile True: time.sleep(0.01)", "T4 --bg bounded").ok
    assert noted.run("bounded.result()", timeout=60).error.startswith("CellTimeout: the cell reached budget_cell")
    assert noted.run("%config ModalGpu.budget_cell = None").ok
    assert noted.run("%config ModalGpu.budget_day = 0.0001").ok
    assert "over budget_day of $0.0001 (" in noted.remote("1", "T4 --bg refused").error
    assert noted.run("'refused' in globals()").value() == "False"


def test_a_queued_cell_counts_what_was_spent_before_it_starts(noted: Kernel, tmp_path: Path) -> None:
    flag = tmp_path / "go"
    assert noted.remote(
        f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)", "T4 --bg first"
    ).ok
    assert noted.remote("print('ran')", "T4 --bg second").ok
    assert noted.run("%config ModalGpu.budget_day = 0.0001").ok
    flag.touch()
    assert noted.run("first.result(); second.result()", timeout=60).error.startswith("MachineError: Not run: T4 at")
    assert noted.run("second.logs()").value() == "''"


@pytest.mark.parametrize(
    "source", ["import time\nkept = 1\nwhile True: time.sleep(0.01)", "kept = 1\nwhile True: pass"]
)
def test_a_running_cell_is_stopped_at_its_budget(noted: Kernel, source: str) -> None:
    assert noted.remote("0", "T4").ok  # a warm container
    dollars = 0.5904 * 6 / 3600
    assert noted.run(f"%config ModalGpu.budget_cell = {dollars}").ok
    stopped = noted.remote(source, "T4", timeout=60)
    said = "stops after 6s of billed time at the latest, by budget_cell of $0.00098."
    assert (said in stopped.said) == ("sleep" in source)  # once
    assert stopped.error == (
        "CellTimeout: the cell reached budget_cell of $0.00098; its variables are kept. "
        "Raise it by %config ModalGpu.budget_cell."
    )
    assert 5 < stopped.seconds < 60
    assert noted.run("kept").value() == "1"
    last = [each for each in lines(noted) if each["kind"] == "run"][-1]
    assert last["outcome"] == "timed out"
    assert 0.8 * dollars < last["dollars"] < 5 * dollars


def test_a_service_is_in_the_ledger(noted: Kernel) -> None:
    assert noted.remote("def double(x):\n    return 2 * x", "T4 --service twice", timeout=100).ok
    assert noted.run("twice.double(21)").value() == "42"
    shown = noted.run("%modal_gpu costs today")
    assert "train.ipynb" in shown.bundles("display_data")[0]["text/plain"]
    assert noted.run("%modal_gpu stop twice").ok
    (found,) = [each for each in lines(noted) if each["kind"] == "service"]
    assert (found["session"], found["gpu"], found["until"]) == ("twice", "T4", found["ended"])
    assert found["dollars"] == pytest.approx(found["phases"]["serving"] * 0.5904 / 3600)
    assert found["dollars"] > 0


def test_a_region_multiplies_what_is_shown_and_any_takes_it_back(noted: Kernel) -> None:
    rehearsed = noted.remote("1", "T4 --region us --session far --dry-run")
    assert "# costs $0.89/h at Modal while its container exists" in rehearsed.stdout
    assert noted.run("%modal_gpu use T4 --region us-west --session far").ok
    assert "≈ $1.03/h" in noted.remote("1", "--session far").said or "$1.03/h" in noted.run("%modal_gpu status").stdout
    back = noted.remote("2", "--region any --session far")
    assert "New machine (region us-west -> none)" in back.said
    rates = [each["hourly"] for each in lines(noted) if each["session"] == "far" and each["kind"] == "run"]
    assert rates == pytest.approx([0.5904 * 1.75, 0.5904])


def test_a_kernel_that_is_killed_leaves_what_was_known() -> None:
    with Kernel() as kernel:
        kernel.load()
        assert kernel.remote("1", "T4").ok
        os.kill(kernel.pid, signal.SIGKILL)
        run, idle = lines(kernel)
    assert (run["kind"], run["outcome"], run["until"]) == ("run", "done", run["ended"])
    assert idle["kind"] == "idle"
    assert 290 < idle["until"] - idle["ended"] < 310
