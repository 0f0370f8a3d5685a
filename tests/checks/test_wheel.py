"""What `pip install modal-gpu-magic` brings: the package with its types and built front-end files, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.checks.sources import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files in the wheel."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    (wheel,) = place.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_it_holds_the_package_and_its_papers_only(names: list[str]) -> None:
    assert {Path(name).parts[0] for name in names if ".dist-info/" not in name} == {"modal_gpu_magic"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_holds_every_file_of_the_package(names: list[str]) -> None:
    package = [path for path in (ROOT / "modal_gpu_magic").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {str(path.relative_to(ROOT)) for path in package} - set(names) == set()
    assert "modal_gpu_magic/py.typed" in names
