"""The reports of the user's imports: in order, of the user's modules alone, and without a trace in a traceback."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.wire.process.import_hook import ImportWatch, OwnImports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType


class Listener:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def import_begins(self) -> None:
        self.heard.append("begins")

    def module_ran(self, module: ModuleType) -> None:
        self.heard.append(f"ran {module.__name__}")

    def import_ends(self, names: list[str]) -> None:
        self.heard.append(f"ends {' '.join(names)}")


class Failing(Listener):
    """Fails at each report."""

    def import_begins(self) -> None:
        raise ValueError

    def module_ran(self, module: ModuleType) -> None:
        raise SystemExit(module)

    def import_ends(self, names: list[str]) -> None:
        raise KeyError(names)


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    files = {
        "mgt_one.py": "import mgt_two, json\nx = 1",
        "mgt_two.py": "y = 2",
        "mgt_bad.py": "import mgt_two\n1 / 0",
        "mgt_syntax.py": "x = (",
        "mgt_lacks.py": "import mgt_nothing",
        "mgt_pack/__init__.py": "from . import inner",
        "mgt_pack/inner.py": "z = 3",
        "site-packages/mgt_library.py": "import mgt_two",
    }
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    finders = list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in [each for each in sys.modules if each.startswith("mgt_")]:
        del sys.modules[name]


def heard(name: str) -> list[str]:
    listener = Listener()
    OwnImports(lambda: listener).install()
    importlib.import_module(name)
    return listener.heard


@pytest.mark.parametrize(
    "name, reports",
    [
        ("mgt_two", ["begins", "ran mgt_two", "ends mgt_two"]),
        ("mgt_one", ["begins", "ran mgt_two", "ran mgt_one", "ends mgt_one mgt_two"]),
        ("mgt_pack", ["begins", "ran mgt_pack.inner", "ran mgt_pack", "ends mgt_pack mgt_pack.inner"]),
        ("mgt_library", ["begins", "ran mgt_two", "ends mgt_two"]),
        ("colorsys", []),
    ],
)
def test_the_runs_of_the_user_s_modules_are_reported(name: str, reports: list[str]) -> None:
    sys.modules.pop("colorsys", None)
    assert heard(name) == reports


def test_a_module_that_runs_again_is_reported_again() -> None:
    listener = Listener()
    OwnImports(lambda: listener).install()
    importlib.reload(importlib.import_module("mgt_two"))
    assert listener.heard == ["begins", "ran mgt_two", "ends mgt_two"] * 2


@pytest.mark.parametrize("name", ["mgt_bad", "mgt_syntax", "mgt_lacks", "mgt_nothing"])
def test_an_import_that_fails_shows_what_it_shows_without_the_finder(name: str) -> None:
    def shown() -> str:
        for each in [each for each in sys.modules if each.startswith("mgt_")]:
            del sys.modules[each]
        try:
            exec(f"import {name}", {})
        except Exception:  # noqa: BLE001 - the case's own
            return traceback.format_exc()
        return "nothing"

    before = shown()
    listener = Listener()
    OwnImports(lambda: listener).install()
    watch = ImportWatch()
    watch.watch(name, lambda: None)
    assert shown() == before
    if name == "mgt_bad":
        assert listener.heard == ["begins", "ran mgt_two", "ends mgt_bad mgt_two"]


def test_a_listener_that_fails_disturbs_no_import() -> None:
    OwnImports(Failing).install()
    assert importlib.import_module("mgt_one").x == 1


def test_the_listener_is_made_with_the_first_module_of_the_user() -> None:
    made: list[Listener] = []

    def listener() -> Listener:
        made.append(Listener())
        return made[0]

    OwnImports(listener).install()
    sys.modules.pop("colorsys", None)
    importlib.import_module("colorsys")
    assert not made
    importlib.import_module("mgt_two")
    assert made[0].heard == ["begins", "ran mgt_two", "ends mgt_two"]
