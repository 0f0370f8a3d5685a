"""Which submodules a cell reads through packages."""

from __future__ import annotations

import concurrent
import concurrent.futures
import sys
import xml
import xml.dom
import xml.dom.minidom
from types import FunctionType
from typing import Any

import pytest

from modal_gpu_magic.wire.values.submodules import import_submodules, submodules_read

FUTURES = ("concurrent.futures",)
DOM = ("xml.dom", "xml.dom.minidom")


@pytest.fixture
def namespace() -> dict[str, Any]:
    """A notebook with packages and functions."""
    namespace: dict[str, Any] = {"xml": xml, "c": concurrent, "sys": sys, "x": 1}
    exec(
        "def pool(): return c.futures.Executor\ndef outer():\n    def inner(): return pool()\n    return inner",
        namespace,
    )
    return namespace


@pytest.mark.parametrize(
    "source, names, found",
    [
        ("xml.dom.minidom.parse", {"xml"}, DOM),
        ("xml . dom", {"xml"}, ("xml.dom",)),
        ("f(xml)", {"xml"}, ()),
        ("c.futures.wait", {"c"}, FUTURES),
        ("futures.wait", {"futures"}, ()),
        ("c.unknown", {"c"}, ()),
        ("sys.path", {"sys"}, ()),
        ("x.dom", {"x"}, ()),
        ("pool()", {"pool"}, FUTURES),
        ("outer()()", {"outer"}, FUTURES),
        ("missing.dom", {"missing"}, ()),
        ("xml.dom, c.futures", {"c", "xml"}, ("concurrent.futures", "xml.dom")),
    ],
)
def test_what_a_cell_reads(namespace: dict[str, Any], source: str, names: set[str], found: tuple[str, ...]) -> None:
    assert tuple(sorted(submodules_read(source, names, namespace))) == found


def test_a_function_of_another_module_is_not_looked_through(namespace: dict[str, Any]) -> None:
    namespace["pool"] = FunctionType(namespace["pool"].__code__, {"c": concurrent})
    assert submodules_read("pool()", {"pool"}, namespace) == ()


def test_what_cannot_be_imported_is_left_to_the_cell() -> None:
    import_submodules(("xml.nothing", "xml.dom.pulldom"))
    assert "xml.dom.pulldom" in sys.modules
