"""Classes and functions of a library whose public module nobody has loaded yet go by name."""

from __future__ import annotations

import importlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import pack, unpack
from tests.wire.far_side import new_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRIVATE = """
    import functools, typing
    class Class: pass
    class Outer:
        class Inner: pass
    def function(): return 1
    @functools.lru_cache
    def cached(): return 1
    @functools.singledispatch
    def generic(value): return 1
    Number = typing.NewType("Number", int)
    for each in (Class, Outer, Outer.Inner, function, cached, generic, Number):
        each.__module__ = "lazy_library.public"
"""
PUBLIC = "from lazy_library._private import *\n"


def across(value: Any) -> Any:
    """What arrives of a value."""
    namespace, store = new_namespace(), InlineStore()
    transfer = pack({"value": value}, namespace, store)
    values = unpack(transfer, namespace, InlineStore(transfer.inline)).values
    return values["value"]


@pytest.fixture(params=["site-packages", "project"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A directory on the path with a package, which has imported its private module alone."""
    package = tmp_path / request.param / "lazy_library"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from lazy_library import _private\n")
    (package / "_private.py").write_text(textwrap.dedent(PRIVATE))
    (package / "public.py").write_text(PUBLIC)
    (package / "failing.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(package.parent))
    importlib.import_module("lazy_library")
    yield request.param
    for name in [name for name in sys.modules if name.split(".")[0] == "lazy_library"]:
        del sys.modules[name]


@pytest.mark.parametrize("place", ["site-packages"], indirect=True)
@pytest.mark.parametrize("name", ["Class", "Outer", "Outer.Inner", "function", "cached", "generic", "Number"])
@pytest.mark.usefixtures("place")
def test_what_a_public_module_exports_goes_by_name(name: str) -> None:
    value = sys.modules["lazy_library._private"]
    for part in name.split("."):
        value = getattr(value, part)
    assert across(value) is value
    assert "lazy_library.public" in sys.modules


def test_an_instance_has_the_very_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(np, "rec", raising=False)  # which may load it
    monkeypatch.delitem(sys.modules, "numpy.rec", raising=False)
    array = np.zeros(3, dtype=[("x", "f4")]).view(np.recarray)
    assert type(across(array)) is np.recarray
    assert "numpy.rec" in sys.modules


@pytest.mark.parametrize("place", ["project"], indirect=True)
@pytest.mark.usefixtures("place")
def test_a_module_of_the_user_is_not_run() -> None:
    kind = sys.modules["lazy_library._private"].Class
    across(kind)
    assert "lazy_library.public" not in sys.modules


@pytest.mark.parametrize("place", ["site-packages"], indirect=True)
@pytest.mark.usefixtures("place")
def test_a_module_that_was_removed_is_not_run_again() -> None:
    importlib.import_module("lazy_library.public")
    del sys.modules["lazy_library.public"]
    across(sys.modules["lazy_library._private"].Class)
    assert "lazy_library.public" not in sys.modules


@pytest.mark.parametrize("place", ["site-packages"], indirect=True)
@pytest.mark.parametrize(
    "module", ["lazy_library.failing", "lazy_library.missing", "lazy_library._private.inner", "no"]
)
@pytest.mark.usefixtures("place")
def test_a_class_of_no_module_goes_by_value(module: str) -> None:
    made = type("Made", (), {"__module__": module, "number": 3})
    assert across(made).number == 3
    assert module not in sys.modules


@pytest.mark.parametrize("place", ["site-packages"], indirect=True)
@pytest.mark.usefixtures("place")
def test_another_class_of_the_same_name_goes_by_value() -> None:
    made = type("Class", (), {"__module__": "lazy_library.public", "number": 3})
    assert across(made).number == 3
