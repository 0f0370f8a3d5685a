"""`%modal_gpu WORD`, in a real shell. None of the words starts anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.line.options import OPTIONS
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.quote import quote, rate
from modal_gpu_magic.ui.magics.catalog import gpu_table
from modal_gpu_magic.ui.magics.commands import COMMANDS
from modal_gpu_magic.ui.magics.kernel_state import ModalGpu
from tests.ui.shell import in_shell

A100_RATE = rate(quote(GpuSpec("A100-40GB")).per_hour)
SCRIPT = """
run("%load_ext modal_gpu_magic")
for line in ["help", "", "gpus", "status", "stop", "stop nobody", "stopp", "zzz", "last", "use H100:2 --session big --pip einops",
             "use A10 --timeout 2h --in x", "use H1000", "use big_one",
             "recommend 13B lora", "recommend 13B lora --dtype=int8 --budget $1/h", "recommend", "recommend 13B lorra",
             "recommend 13B --dtyp int8", "recommend 13B --budget", "recommend 13B --budget x", "recommend 13B --budget 0.1"]:
    out[line] = run("%modal_gpu " + line)
out["status after use"] = run("%modal_gpu status")
out["use --model 13B --task lora --session picked"] = run("%modal_gpu use --model 13B --task lora --session picked")
out["status of the picked"] = run("%modal_gpu status")
run("import modal_gpu_magic as mg\\nbig_one = mg.Machine.of('L4', cpu=2.0)\\n%modal_gpu use big_one --session other")
out["two"] = run("%modal_gpu status")
out["metrics"] = run("m = %modal_gpu metrics big\\nprint(m)")
out["metrics nobody"] = run("%modal_gpu metrics nobody")
out["stop one"] = run("%modal_gpu stop other")
out["small machine"] = run("%modal_gpu use big_one --model 70B --session small\\n%modal_gpu status")
from IPython.utils.capture import capture_output
out["rich"] = {}
for line in ["gpus", "recommend 13B lora"]:
    with capture_output() as captured:
        shell.run_cell("%modal_gpu " + line)
    out["rich"][line] = [each.data for each in captured.outputs]
out["modal"] = [str("modal" in sys.modules)]
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each line printed, and its error."""
    home: Path = tmp_path_factory.mktemp("home")
    return in_shell(home, SCRIPT)


def test_help_names_every_option_and_word(said: dict[str, list[str]]) -> None:
    printed, error = said["help"]
    assert error == ""
    assert [word for word in (*OPTIONS, *(f"%modal_gpu {word}" for word in COMMANDS)) if word not in printed] == []
    assert [name for name in ModalGpu.class_own_traits(config=True) if f"  {name} " not in printed] == []
    assert said[""] == said["help"]


def test_gpus_are_the_catalog(said: dict[str, list[str]]) -> None:
    printed, error = said["gpus"]
    rows = [line.split()[0] for line in printed.splitlines()[1:-1] if not line.startswith(" ")]
    assert (rows, error) == (list(GPUS), "")


def test_every_fact_of_a_gpu_is_in_its_row() -> None:
    for gpu, row in zip(GPUS.values(), gpu_table().rows, strict=True):
        facts = (gpu.name, gpu.vram_gb, gpu.max_count, f"{gpu.price_per_hour:.2f}", gpu.price_date)
        more = (gpu.architecture, f"{gpu.bandwidth_gbps:,}", gpu.best_for)
        assert [fact for fact in (*facts, *more) if str(fact) not in " ".join(row.cells)] == []
        assert row.note == gpu.notes


@pytest.mark.parametrize("line", ["gpus", "recommend 13B lora"])
def test_a_notebook_gets_a_rich_table_beside_the_text(said: dict[str, Any], line: str) -> None:
    (bundle,) = said["rich"][line]
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/html"].startswith("<table>")
    assert "A100-40GB" in bundle["text/html"]
    assert said[line][0].strip() == bundle["text/plain"]


def test_a_model_on_the_line_picks_the_machine(said: dict[str, list[str]]) -> None:
    printed, error = said["use --model 13B --task lora --session picked"]
    assert error == ""
    assert f"Picked A100-40GB ({A100_RATE}) for 13B lora in bf16: the reference's A100-40GB" in printed
    assert "picked: A100-40GB · local" in said["status of the picked"][0]


def test_a_gpu_of_a_machine_variable_is_checked(said: dict[str, list[str]]) -> None:
    printed, error = said["small machine"]
    assert error == ""
    assert "L4 has 24 GB, and 70B inference in bf16 needs 168 GB" in printed
    assert "big_one" not in printed
    assert "small: L4 · local" in printed


@pytest.mark.parametrize(
    "line, printed",
    [
        ("status", "No sessions. Start a cell with `%%modal_gpu H100` to open one."),
        ("status after use", "big: H100:2 · local · not running · only on the GPU: none"),
        ("two", "other: L4 · local · not running"),
        ("stop one", "other: stopped"),
        ("metrics", "<metrics: no GPU has been read yet>"),
        (
            "recommend 13B lora",
            f"A100-40GB      40 GB  {A100_RATE}  the reference's A100-40GB for 'Fine-tuning (LoRA)'\nL40S ",
        ),
        ("recommend 13B lora", "13B lora in bf16: 13B × 2 bytes = 26 GB frozen weights + "),
        ("recommend 13B lora", "Prices of 2026-09-01."),
        ("recommend 13B lora --dtype=int8 --budget $1/h", "13B lora in int8: 13B × 1 byte = 13 GB"),
        ("stop", ""),
    ],
)
def test_what_is_printed(said: dict[str, list[str]], line: str, printed: str) -> None:
    assert said[line][1] == ""
    assert printed in said[line][0]


@pytest.mark.parametrize(
    "line, error",
    [
        ("stopp", "did you mean stop?"),
        ("last", "No cell has run yet in this kernel."),
        ("metrics nobody", "No session is named 'nobody'. Sessions: big, picked, other."),
        (
            "zzz",
            "commands: picker, use, gpus, recommend, put, get, ls, status, attach, last, metrics, costs, stop, help.",
        ),
        ("stop nobody", "No session or service is named 'nobody'. Sessions and services: none."),
        ("use A10 --timeout 2h --in x", "--timeout and --in belong to a cell"),
        ("use H1000", "did you mean H100"),
        ("recommend", "write %modal_gpu recommend 13B lora"),
        ("recommend 13B lorra", "did you mean lora?"),
        ("recommend 13B --dtyp int8", "did you mean --dtype?"),
        ("recommend 13B --budget", "--budget has no value"),
        ("recommend 13B --budget x", "'x' is not a budget"),
        ("recommend 13B --budget 0.1", "the cheapest is "),
    ],
)
def test_what_is_refused(said: dict[str, list[str]], line: str, error: str) -> None:
    assert said[line][1].startswith(("LineError", "UnknownGpuError", "MachineError"))
    assert error in said[line][1]


def test_the_sdk_is_not_loaded_for_any_of_it(said: dict[str, list[str]]) -> None:
    assert said["modal"] == ["False"]
