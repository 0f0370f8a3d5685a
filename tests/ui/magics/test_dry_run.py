"""`--dry-run` shows what would run and be sent, and changes nothing: no process, no session, no machine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.shell import in_shell

SCRIPT = """
import psutil
run("%load_ext modal_gpu_magic")
run("x = [1, 2]\\nhf_token = 'hf_' + 'a1' * 20\\n")
out["plain"] = run("%%modal_gpu H100:2 --pip einops --dry-run\\ny = sum(x)")
out["secret"] = run("%%modal_gpu H100 --dry-run\\nprint(hf_token)")
out["secret allowed"] = run("%%modal_gpu H100 --dry-run --in hf_token\\nprint(hf_token)")
out["service"] = run("%%modal_gpu L40S --service embed --max 2 --dry-run\\n@batched(8)\\ndef total(xs): return [x]")
out["sessions"] = run("%modal_gpu status")
run("%modal_gpu use A10")
out["other"] = run("%%modal_gpu L4 --dry-run\\ny = 1")
out["after"] = run("%modal_gpu status")
out["bound"] = "y" in shell.user_ns
import os
open("own_tools.py", "w").close()
sys.path.insert(0, os.getcwd())
out["module"] = run("%%modal_gpu L4 --dry-run\\nimport own_tools, json")
out["modal"] = "modal" in sys.modules
out["children"] = [child.name() for child in psutil.Process().children(recursive=True)]
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the dry runs said and left."""
    return in_shell(tmp_path_factory.mktemp("home"), SCRIPT)


def test_the_program_and_what_is_sent(found: dict[str, Any]) -> None:
    printed, error = found["plain"]
    assert error == ""
    program = printed[printed.index("import modal") :]
    compile(program, "<dry run>", "exec")
    for part in ("gpu='H100:2'", "'einops'", "def cell(x):", "y = sum(x)", 'return {"y": y}', "# sends x: "):
        assert part in program


def test_a_secret_is_refused_as_in_a_run(found: dict[str, Any]) -> None:
    printed, error = found["secret"]
    assert error.startswith("TransferError: Cannot send `hf_token`")
    assert "a1a1" not in printed + error


def test_one_that_is_sent_on_purpose_is_named(found: dict[str, Any]) -> None:
    printed, error = found["secret allowed"]
    assert error == ""
    assert "# sends hf_token" in printed


def test_a_service_is_shown_as_a_class(found: dict[str, Any]) -> None:
    printed, error = found["service"]
    assert error == ""
    program = printed[printed.index("import modal") :]
    compile(program, "<dry run>", "exec")
    for part in ("@app.cls(gpu='L40S'", "max_containers=2", "max_batch_size=8, wait_ms=100", "# sends x: "):
        assert part in program


def test_the_notebook_s_own_modules_are_named(found: dict[str, Any]) -> None:
    lines = [line for line in found["module"][0].splitlines() if "notebook's module" in line]
    assert lines == ["# sends the notebook's module own_tools.py"]


def test_nothing_is_started(found: dict[str, Any]) -> None:
    assert found["children"] == []
    assert found["modal"] is False
    assert found["bound"] is False


def test_no_machine_is_remembered(found: dict[str, Any]) -> None:
    assert "No sessions." in found["sessions"][0]
    assert "gpu='L4'" in found["other"][0]
    assert found["after"][0].startswith("default: A10 ")
