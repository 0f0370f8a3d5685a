"""The layout holds for the package, and the check sees each fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checks.layout import PACKAGE, faults
from tests.checks.sources import ROOT


def package(place: Path, **files: str) -> Path:
    """A package of these files, whose folders say what lives in them unless the files say otherwise."""
    says = {
        f"{parent}/__init__.py": '"""What lives there."""'
        for name in files
        for parent in Path(name).parents
        if parent.name
    }
    for name, text in {"__init__.py": '"""The face."""', **says, **files}.items():
        path = place / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place / "house"


def test_the_package_keeps_the_laws() -> None:
    assert list(faults(PACKAGE)) == []


@pytest.mark.parametrize(
    "files, found",
    [
        ({"a/b.py": "x = 1"}, []),
        ({"a/a.py": "x = 1"}, ["a/a.py: repeats its folder's name; name it by what it does"]),
        ({"a/b/b.py": "x = 1"}, ["a/b/b.py: repeats its folder's name; name it by what it does"]),
        ({"a/x.py": "", "b/r/x.py": ""}, []),
        ({"a/x.py": "", "a/r/x.py": "", "b/x.py": ""}, []),
        ({"a/x.py": "", "b/r/x.py": "", "c/x.py": ""}, ["x.py: stands on 3 floors: a, b, c"]),
        ({"a/__init__.py": '"""What lives there."""'}, []),
        ({"a/__init__.py": ""}, ["a/__init__.py: say in one sentence what lives in a/"]),
        ({"a/__init__.py": '"""One. Two."""'}, ["a/__init__.py: say in one sentence what lives in a/"]),
        ({"a/__init__.py": '"""One."""\nx = 1'}, ["a/__init__.py: say in one sentence what lives in a/"]),
        ({"a/b.py": "from house.c import d"}, []),
        ({"a/b.py": "import house"}, ["a/b.py: imports house itself; import the module that has the name"]),
        ({"a/b.py": "from house import c"}, ["a/b.py: imports house itself; import the module that has the name"]),
        (
            {"a/b.py": "def f():\n    import house"},
            ["a/b.py: imports house itself; import the module that has the name"],
        ),
    ],
)
def test_a_fault_is_found(tmp_path: Path, files: dict[str, str], found: list[str]) -> None:
    assert list(faults(package(tmp_path, **files))) == found


def test_a_folder_without_an_init_is_found(tmp_path: Path) -> None:
    house = package(tmp_path, **{"a/b/c.py": "x = 1"})
    (house / "a" / "b" / "__init__.py").unlink()
    assert list(faults(house)) == ["a/b/: has no __init__.py that says what lives there"]


def test_a_cycle_of_types_alone_is_found(tmp_path: Path) -> None:
    """import-linter counts what `TYPE_CHECKING` imports, as our settings have it."""
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    house = package(tmp_path, **{"a.py": f"{lazy}from house.b import y\nx = 1", "b.py": "from house.a import x\ny = 1"})
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    counted = next(line for line in settings.splitlines() if line.startswith("exclude_type_checking_imports"))
    (tmp_path / ".importlinter").write_text(
        f"[importlinter]\nroot_package = house\n{counted}\n"
        "[importlinter:contract:1]\nname = No cycle\ntype = acyclic_siblings\nancestors = house\n"
    )
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    done = subprocess.run(command, cwd=house.parent, capture_output=True, text=True, timeout=110)
    assert "0 kept, 1 broken" in done.stdout, done.stdout + done.stderr
