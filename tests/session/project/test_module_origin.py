"""Where a module comes from: the user's own directories, or an environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modal_gpu_magic.session.project.module_origin import files_of, own_locations


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (
        "own/hm_single.py",
        "own/hm_package/__init__.py",
        "own/hm_package/deep/m.py",
        "own/hm_package/data.txt",
        "own/hm_package/.hidden/x.py",
        "own/hm_package/.env",
        "own/hm_package/__pycache__/m.pyc",
        "own/hm_space/part.py",
        "env/lib/site-packages/hm_installed.py",
        "target/hm_targeted.py",
        "target/other-1.0.dist-info/METADATA",
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    for folder in ("own", "env/lib/site-packages", "target"):
        monkeypatch.syspath_prepend(tmp_path / folder)


@pytest.mark.parametrize(
    "module, found",
    [
        ("hm_single", ("own/hm_single.py",)),
        ("hm_package", ("own/hm_package",)),
        ("hm_space", ("own/hm_space",)),
        ("hm_installed", ()),
        ("hm_targeted", ()),
        ("json", ()),
        ("sys", ()),
        ("pytest", ()),
        ("modal", ()),
        ("modal_gpu_magic", ()),
        ("__main__", ()),
        ("hm_nowhere", None),
        ("", None),
    ],
)
def test_homes(tmp_path: Path, module: str, found: tuple[str, ...] | None) -> None:
    assert own_locations(module) == (None if found is None else tuple(tmp_path / each for each in found))
    assert module == "" or "hm_" not in module or module not in sys.modules, "to look must not import"


def test_the_files_of_a_package(tmp_path: Path) -> None:
    found = [path for path, _, _ in files_of("hm_package", tmp_path / "own/hm_package")]
    assert sorted(found) == ["hm_package/__init__.py", "hm_package/data.txt", "hm_package/deep/m.py"]


def test_a_module_that_is_one_file(tmp_path: Path) -> None:
    place = tmp_path / "own/hm_single.py"
    assert list(files_of("hm_single", place)) == [("hm_single.py", str(place), place.stat())]
