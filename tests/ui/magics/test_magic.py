"""Loading, unloading and reloading leave the shell as it was; settings are found by `%config`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.shell import in_shell

SCRIPT = """
def marks():
    magics = shell.magics_manager.magics
    return [
        [getattr(hook, "__name__", repr(hook)) for hook in shell.input_transformers_cleanup],
        [getattr(hook, "__name__", repr(hook)) for hook in shell.Completer.custom_matchers],
        [kind.__name__ for kind in shell.custom_exceptions],
        [type(each).__name__ for each in shell.configurables],
        sorted([*magics["cell"], *magics["line"]]),
        [getattr(hook, "__name__", repr(hook)) for hook in shell.input_transformers_post],
    ]

run("%unload_ext nothing")  # IPython makes magics of its own when they are first used
run("%config")
out["before"] = marks()
run("%load_ext modal_gpu_magic")
out["loaded"] = marks()
run("%reload_ext modal_gpu_magic")
out["reloaded"] = marks()
out["config"] = run("%config ModalGpu")
out["set"] = run("%config ModalGpu.quiet = True\\n%config ModalGpu.backend = 'cloud'")
out["wrong"] = run("%config ModalGpu.backend = 'moon'")
run("%modal_gpu use H100")
out["status"] = run("%modal_gpu status")
out["fault"] = run("1 +* 2")
out["above"] = run("# about\\n\\n%%modal_gpu H100 \\\\\\n  --dry-run\\nz = 1")
run("%unload_ext modal_gpu_magic")
out["unloaded"] = marks()
out["gone"] = run("%%modal_gpu H100\\n1")

run("get_ipython().set_custom_exc((KeyError,), lambda *a: print('mine'))\\n%load_ext modal_gpu_magic")
out["their handler"] = marks()[2]
run("%unload_ext modal_gpu_magic")
out["their handler after"] = marks()[2]
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The shell's marks at each step, and what was said."""
    return in_shell(tmp_path_factory.mktemp("home"), SCRIPT)


def test_unloading_leaves_the_shell_as_it_was(found: dict[str, Any]) -> None:
    assert found["loaded"] != found["before"]
    assert found["unloaded"] == found["before"]


def test_loading_adds_one_of_each(found: dict[str, Any]) -> None:
    added = [
        [name for name in after if name not in before]
        for before, after in zip(found["before"], found["loaded"], strict=True)
    ]
    assert added[:2] == [["allow_empty_body", "header_first"], ["modal_gpu"]]
    assert added[3:] == [["ModalGpu"], ["modal_gpu", "modal_gpu"], ["refuse_misplaced_headers"]]
    assert "SyntaxError" in added[2]


def test_loading_again_adds_nothing(found: dict[str, Any]) -> None:
    assert found["reloaded"] == found["loaded"]


def test_settings_are_found_and_checked(found: dict[str, Any]) -> None:
    assert all(f"ModalGpu.{name}" in found["config"][0] for name in ("backend", "ask_limit", "quiet"))
    assert found["set"][1] == ""
    assert "· cloud ·" in found["status"][0]
    assert "moon" in "".join(found["wrong"])


def test_a_fault_of_the_notebooks_own_is_shown_as_ever(found: dict[str, Any]) -> None:
    printed, error = found["fault"]
    assert error.startswith("SyntaxError")
    assert "1 +* 2" in printed


def test_comments_may_stand_above_a_header_that_goes_on(found: dict[str, Any]) -> None:
    printed, error = found["above"]
    assert error == ""
    assert "z = 1" in printed


def test_an_unloaded_magic_is_unknown(found: dict[str, Any]) -> None:
    assert "modal_gpu" in "".join(found["gone"])
    assert "not found" in "".join(found["gone"])


def test_a_handler_of_the_users_stays(found: dict[str, Any]) -> None:
    assert found["their handler"] == found["their handler after"] == ["KeyError"]
