"""An SDK that nobody has tried is said, once in a kernel; the newest tried is what is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest
import toml
from packaging.requirements import Requirement

from modal_gpu_magic.sdk.tested import TESTED
from tests.ui.shell import in_shell

SCRIPT = """
import importlib.metadata
version = importlib.metadata.version
importlib.metadata.version = lambda name: {installed!r} if name == "modal" else version(name)
run("%load_ext modal_gpu_magic")
out["said"] = ["".join(run("%%modal_gpu T4 --dry-run\\nx = 1")) for _ in range(2)]
"""


@pytest.mark.parametrize(
    "installed, times", [("1.7.0", 1), ("2.0.1", 1), ("1.6.99", 1), (TESTED, 0), ("1.6.0", 0), ("odd", 0)]
)
def test_it_is_said_once(tmp_path: Path, installed: str, times: int) -> None:
    (tmp_path / "work").mkdir()
    first, second = in_shell(tmp_path, SCRIPT.format(installed=installed))["said"]
    assert first.count("the newest that was tried") == times
    assert "the newest that was tried" not in second
    assert "T4" in second


def test_the_pin_ends_behind_what_was_tried() -> None:
    project = toml.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    requirements = map(Requirement, project["dependencies"])
    pin = next(each.specifier for each in requirements if each.name == "modal")
    assert (pin.contains(TESTED), pin.contains("1.7.0")) == (True, False)
