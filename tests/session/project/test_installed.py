"""The installed distributions are read once, and again after an installation."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.project.installed import distributions
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.needs import needs


def install(folder: Path, name: str, version: str) -> None:
    """What an installer leaves behind."""
    facts = folder / f"{name}-{version}.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (facts / "RECORD").write_text(f"{name}.py,,\n")
    (folder / f"{name}.py").write_text("")


def test_what_was_installed_meanwhile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "first_of_two", "1.0")
    monkeypatch.syspath_prepend(tmp_path)
    assert distributions()["first_of_two"] == ["first_of_two"]
    assert "second_of_two" not in distributions()
    install(tmp_path, "second_of_two", "2.0")
    found = needs(analyse("import second_of_two"), {}, LocalModules())
    assert found.imports == {"second_of_two": "second-of-two==2.0"}


def test_a_folder_that_joins_the_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "joins_later", "1.0")
    assert "joins_later" not in distributions()
    monkeypatch.syspath_prepend(tmp_path)
    assert distributions()["joins_later"] == ["joins_later"]


@pytest.mark.parametrize("source", ["pass", "x = 1", "import os, sys"])
def test_a_cell_without_a_foreign_module_reads_nothing(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "packages_distributions", _refuse)
    assert needs(analyse(source), {}, LocalModules()).packages == ()


def test_nothing_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(analyse("import numpy"), {}, LocalModules())
    monkeypatch.setattr(importlib.metadata, "packages_distributions", _refuse)
    assert needs(analyse("import numpy"), {}, LocalModules()).packages


def _refuse() -> None:
    raise AssertionError("the distributions were read")
