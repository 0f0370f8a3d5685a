"""Native cells in a real IPython shell, after remote cells have imported modules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.session.deferring import FILES
from tests.ui.shell import in_shell

if TYPE_CHECKING:
    from typing import Any

_BEFORE = """
sys.path.insert(0, "packages")
run("%load_ext modal_gpu_magic")
from modal_gpu_magic.session.values.deferred_imports import bind, deferred
from modal_gpu_magic.wire.values.imports import Import
bind({"heavy": Import("heavy"), "double": Import("heavy", "double"), "Model": Import("heavy", "Model")}, shell.user_ns)
bind({"gp": Import("gpytorch_nowhere"), "slow": Import("slow")}, shell.user_ns)

def imported():
    return list(getattr(sys, "imported", ()))

"""


@pytest.fixture
def shell(tmp_path: Path) -> Any:
    work = tmp_path / "work"
    for name, text in FILES.items():
        (work / "packages" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "packages" / name).write_text(text)

    def start(script: str) -> dict[str, Any]:
        return in_shell(tmp_path, _BEFORE + script)

    return start


def test_a_cell_imports_what_it_uses(shell: Any) -> None:
    found = shell(
        """
out["other"] = run("x = 1\\nprint(x)"), imported()
out["used"] = run("print(heavy.LIMIT)"), imported()
out["kinds"] = [type(shell.user_ns[name]).__name__ for name in ("heavy", "double")]
out["function"] = run("def f():\\n    return double(4)"), run("print(f())")
out["missing"] = run("gp.models.ExactGP")
out["await"] = run("import asyncio\\nawait asyncio.sleep(0)\\nprint(Model(2).x)")
"""
    )
    assert found["other"] == [["1\n", ""], []]
    assert found["used"] == [["3\n", ""], ["heavy"]]
    assert found["kinds"] == ["module", "DeferredImport"]
    assert found["function"] == [["", ""], ["8\n", ""]]
    printed, error = found["missing"]
    assert error.startswith("ModuleNotFoundError: No module named 'gpytorch_nowhere'. A cell imported `gp`")
    assert "%%modal_gpu" in printed
    assert found["await"] == ["2\n", ""]


def test_what_magics_use_is_imported(shell: Any) -> None:
    found = shell(
        """
out["timeit"] = run("%timeit -n1 -r1 double(2)")[1], imported()
out["capture"] = run("%%capture c\\nprint(Model(3).x)")[1], run("print(c.stdout)")
out["text"] = run("!echo {heavy.LIMIT}")[1]
"""
    )
    assert found == {"timeit": ["", ["heavy"]], "capture": ["", ["3\n\n", ""]], "text": ""}


def test_rebinding_natively_wins(shell: Any) -> None:
    found = shell(
        """
run("heavy = 3")
run("import json as double")
out["values"] = run("print(heavy, double.__name__)"), imported()
run("del Model")
out["gone"] = run("Model")[1]
"""
    )
    assert found["values"] == [["3 json\n", ""], []]
    assert found["gone"].startswith("NameError")


def test_completion_and_inspection(shell: Any) -> None:
    found = shell(
        """
out["names"] = "heavy" in tab("hea"), imported()
out["attributes"] = [each for each in tab("heavy.") if each in ("heavy.double", "heavy.LIMIT")], imported()
out["pinfo"] = run("double?")[1]
out["inspect"] = shell.object_inspect_mime("Model")["text/plain"]
"""
    )
    assert found["names"] == [True, []]
    assert sorted(found["attributes"][0]) == ["heavy.LIMIT", "heavy.double"]
    assert found["pinfo"] == ""
    assert "A model." in found["inspect"]


def test_inspection_of_a_function_before_any_cell(shell: Any) -> None:
    found = shell('out["inspect"] = shell.object_inspect_mime("double")["text/plain"]')
    assert "Twice x." in found["inspect"]
    assert "x: int" in found["inspect"]


def test_a_stop_while_importing_stops_the_cell(shell: Any) -> None:
    found = shell("""out["stop"] = run("print(1)\\nslow.x\\nprint(2)")""")
    assert found["stop"][1].startswith("KeyboardInterrupt")
    assert not found["stop"][0].startswith("1\n2")


def test_our_own_cells_import_nothing(shell: Any) -> None:
    found = shell(
        """
out["dry"] = run("%%modal_gpu T4 --dry-run\\nheavy.double(Model(1).x)")[1], imported()
out["above"] = run("# a comment\\n%%modal_gpu T4 --dry-run\\nheavy.LIMIT")[1], imported()
"""
    )
    assert found == {"dry": ["", []], "above": ["", []]}


def test_unloading_leaves_the_shell_as_it_was(shell: Any) -> None:
    found = shell(
        """
out["count"] = len(shell.events.callbacks["pre_run_cell"])
run("%reload_ext modal_gpu_magic")
out["again"] = len(shell.events.callbacks["pre_run_cell"])
run("%unload_ext modal_gpu_magic")
out["after"] = len(shell.events.callbacks["pre_run_cell"])
out["works"] = run("print(heavy.LIMIT)")
"""
    )
    assert found["again"] == found["count"] > found["after"] == 0
    assert found["works"] == ["3\n", ""]


def test_before_any_session_a_cell_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    found = in_shell(
        tmp_path,
        'run("%load_ext modal_gpu_magic")\nrun("x = 1")\n'
        'out["loaded"] = [name for name in sys.modules if name.startswith("modal_gpu_magic.wire.")]',
    )
    assert sorted(found["loaded"]) == [
        "modal_gpu_magic.wire.process",
        "modal_gpu_magic.wire.process.import_hook",  # which modules of the user are imported
        "modal_gpu_magic.wire.process.initial_state",  # what the environment was before any cell
        "modal_gpu_magic.wire.values",
        "modal_gpu_magic.wire.values.kinds",
        "modal_gpu_magic.wire.values.library_modules",  # which modules are the user's
        "modal_gpu_magic.wire.values.own_code",  # the handlers of ■ mark their exceptions
    ]
