"""The user's own code is not in a container by itself: neither from PYTHONPATH, nor as an editable install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modal_gpu_magic.control_plane.containers.root import ContainerRoot
from modal_gpu_magic.control_plane.images.environment import PACKAGE_ROOT

FINDER = """
import importlib.util, sys
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, {file!r}) if name == "wo_mapped" else None
def install():
    sys.meta_path.append(Finder)
"""


@pytest.fixture
def container_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContainerRoot:
    """A world beside an environment with editable installs of both kinds, and two directories of PYTHONPATH."""
    for folder in ("env/site-packages", "env/site-packages/sub", "project", "target/x-1.0.dist-info", "plain"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("env/site-packages/wo_installed", "env/site-packages/sub/wo_sub", "project/wo_project",
                 "project/wo_mapped", "target/wo_target", "plain/wo_plain"):  # fmt: skip
        (tmp_path / f"{file}.py").write_text("")
    site = tmp_path / "env/site-packages"
    finder = "__editable___wo_finder"
    (site / f"{finder}.py").write_text(FINDER.format(file=str(tmp_path / "project/wo_mapped.py")))
    (site / "own.pth").write_text(f"{tmp_path}/project\nsub\nimport {finder}; {finder}.install()\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site), str(site / "sub"), str(tmp_path / "project")])
    monkeypatch.setenv("PYTHONPATH", f"{PACKAGE_ROOT}:{tmp_path}/target:{tmp_path}/plain:relative")
    made = ContainerRoot(tmp_path / "world")
    made.make()
    return made


@pytest.mark.parametrize(
    "module, found",
    [
        ("wo_installed", True),
        ("wo_sub", True),
        ("wo_target", True),
        ("wo_project", False),
        ("wo_mapped", False),
        ("wo_plain", False),
        ("json", True),
        ("modal_gpu_magic", True),
    ],
)
def test_what_can_be_imported(container_root: ContainerRoot, module: str, found: bool) -> None:
    done = subprocess.run(
        [container_root.python, "-c", f"import {module}"],
        env=container_root.environment(),
        cwd=container_root.root,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) is found, done.stderr
