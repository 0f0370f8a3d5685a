"""What a remote cell imported is imported here when it is used, and not before."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from modal_gpu_magic.plan.cell.import_statements import import_statements
from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.plan.cell.secrets import looks_secret
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.needs import needs
from modal_gpu_magic.session.run.watch import suspect
from modal_gpu_magic.session.values.deferred_imports import bind, deferred, import_for
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.inspection.summary import bundle, summary
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, why_not
from modal_gpu_magic.wire.transfer import pack, unpack
from modal_gpu_magic.wire.values.imports import DeferredImport, Import, bound_by_import
from modal_gpu_magic.wire.values.referenced_globals import reach
from tests.session.deferring import Packages, packages

__all__ = ["packages"]


def remote(cell: str, packages: Packages) -> dict[str, Any]:
    """A cell runs elsewhere, and the names that it bound by import come home."""
    there: dict[str, Any] = {"__name__": "__main__"}
    exec(cell, there)
    found = bound_by_import(
        [name for name in there if name[0] != "_"], there, import_statements(cell), analyse(cell).stars
    )
    packages.forget()
    bind(found, packages.namespace)
    return packages.namespace


def native(cell: str, namespace: dict[str, Any]) -> None:
    import_for(cell, namespace)
    exec(cell, namespace)


# remote cell, native cell, what `r` is then
USES = [
    ("import heavy", "r = heavy.double(2)", 4),
    ("import heavy as h", "r = h.LIMIT", 3),
    ("import heavy.part", "r = heavy.part.half(4) + heavy.LIMIT", 5.0),
    ("import heavy.part as p", "r = p.half(4)", 2.0),
    ("from heavy import double", "r = double(2)", 4),
    ("from heavy import double as d", "r = d(2)", 4),
    ("from heavy import part", "r = part.half(4)", 2.0),
    ("from heavy.part import half as h", "r = h(4)", 2.0),
    ("from heavy import Model", "r = Model(7).x", 7),
    ("from heavy import Model", "class Mine(Model): pass\nr = Mine(5).x", 5),
    ("from heavy import Model", "r = isinstance(1, Model)", False),
    ("from heavy import lazy", "r = lazy()", "lazy"),
    ("from heavy import *", "r = double(2)", 4),
    ("import heavy\nfrom heavy.part import half", "r = heavy.part.half(2)", 1.0),
    ("if True:\n    import heavy", "r = heavy.LIMIT", 3),
    ("try:\n    import nowhere_at_all as h\nexcept ImportError:\n    import heavy as h", "r = h.LIMIT", 3),
    ("try:\n    from nowhere_at_all import f\nexcept ImportError:\n    from heavy import double as f", "r = f(2)", 4),
    ("import heavy", "def f():\n    return heavy.LIMIT\nr = f()", 3),
    ("import heavy", "r = [heavy.LIMIT for _ in range(1)][0]", 3),
    ("import heavy", "r = eval('heavy.LIMIT')", 3),
    ("import heavy", "r = globals()['heavy'].LIMIT", 3),
    ("import heavy", "r = heavy.__version__", "1.2"),
    ("import heavy", "import sys\nr = sys.modules[heavy.__name__] is heavy", True),
]


@pytest.mark.parametrize("cell, use, result", USES)
def test_a_native_cell_gets_what_a_remote_cell_imported(
    packages: Packages, cell: str, use: str, result: object
) -> None:
    namespace = remote(cell, packages)
    assert packages.imported == []
    native(use, namespace)
    assert namespace["r"] == result
    assert packages.imported.count("heavy") == 1


# uses that the cell's text does not show: no import before the cell
HIDDEN = [
    ("import heavy", lambda n: n["heavy"].LIMIT, 3),
    ("import heavy", lambda n: n["heavy"].__version__, "1.2"),
    ("import heavy", lambda n: "double" in dir(n["heavy"]), True),
    ("from heavy import double", lambda n: n["double"](2), 4),
    ("from heavy import double", lambda n: n["double"].__doc__, "Twice x."),
    ("from heavy import Model", lambda n: n["Model"](4).x, 4),
    ("from heavy import Model", lambda n: isinstance(3, n["Model"]), False),
    ("from heavy import Model", lambda n: issubclass(int, n["Model"]), False),
    ("from heavy import Model", lambda n: (int | n["Model"]) is not None, True),
    ("from heavy import Model", lambda n: (n["Model"] | None) is not None, True),
]


@pytest.mark.parametrize("cell, use, result", HIDDEN)
def test_a_stand_in_imports_when_it_is_used(packages: Packages, cell: str, use: Any, result: object) -> None:
    namespace = remote(cell, packages)
    name = next(iter(deferred(namespace)))
    assert use(namespace) == result
    assert packages.imported == ["heavy"]
    assert type(namespace[name]) is not DeferredImport


def test_an_attribute_set_on_a_stand_in_is_the_module_s(packages: Packages) -> None:
    namespace = remote("import heavy", packages)
    stand_in = namespace["heavy"]
    stand_in.LIMIT = 9
    assert namespace["heavy"].LIMIT == 9
    del stand_in.LIMIT
    assert "LIMIT" not in vars(namespace["heavy"])


def test_a_class_made_from_a_stand_in(packages: Packages) -> None:
    namespace = remote("from heavy import Model", packages)
    exec("exec('class Mine(Model): pass')", namespace)
    exec("r = Mine(5).x", namespace)
    assert namespace["r"] == 5


def test_a_function_of_the_notebook_s_reads_the_name(packages: Packages) -> None:
    namespace: dict[str, Any] = packages.namespace
    native("def outer():\n    return inner()\ndef inner():\n    return h.LIMIT", namespace)
    remote("import heavy as h", packages)
    native("x = 1", namespace)
    assert packages.imported == []
    import_for("outer()", namespace)
    assert isinstance(namespace["h"], ModuleType)


@pytest.mark.parametrize(
    "cell", ["x = 1", "heavy = 3", "import heavy", "print('heavy')", "%%bash\nheavy", "del heavy", "x.heavy"]
)
def test_a_cell_that_does_not_use_the_name_imports_nothing(packages: Packages, cell: str) -> None:
    namespace = remote("import heavy", packages)
    import_for(cell, namespace)
    assert packages.imported == []


def test_looking_at_a_stand_in_imports_nothing(packages: Packages) -> None:
    namespace = remote("import heavy\nfrom heavy import double, Model", packages)
    for name in sorted(deferred(namespace)):
        value = namespace[name]
        assert nbytes_of(value) < 1000
        assert looks_secret(name, value) is None
        assert "heavy" in repr(value)
        assert summary(value).startswith("import of heavy")
        assert bundle(value) is not None
        assert fingerprint(value, namespace) == fingerprint(value, namespace)
        assert why_not(value, namespace) is None
        assert reach([name], namespace) == {name}
        assert isinstance(value, (int, ModuleType)) is False
        assert suspect("import torch", {name: value}) is not None
        assert bool(value)
        assert hash(value) == hash(value)
    assert packages.imported == []


def test_in_the_container_a_stand_in_is_what_it_stands_for(packages: Packages) -> None:
    namespace = remote("import heavy.part\nfrom heavy import double", packages)
    store = InlineStore()
    transfer = pack({name: namespace[name] for name in deferred(namespace)}, namespace, store)
    assert packages.imported == []
    assert {"heavy", "heavy.part"} <= set(transfer.modules)
    there: dict[str, Any] = {"__name__": "__main__"}
    arrived = unpack(transfer, there, InlineStore(dict(transfer.inline)))
    assert arrived.failed == {}
    assert arrived.values["heavy"] is sys.modules["heavy"]
    assert arrived.values["heavy"].part.half(2) == 1
    assert arrived.values["double"] is sys.modules["heavy"].double
    assert type(namespace["heavy"]) is DeferredImport


def test_a_package_that_the_container_lacks(packages: Packages) -> None:
    namespace: dict[str, Any] = {"n": DeferredImport("n", Import("nowhere_at_all"), {})}
    transfer = pack(namespace, namespace, InlineStore())
    arrived = unpack(transfer, {}, InlineStore())
    assert "n" in arrived.failed


def test_what_is_loaded_here_is_bound_at_once(packages: Packages) -> None:
    import json
    import xml

    namespace: dict[str, Any] = {}
    bind({"j": Import("json"), "loads": Import("json", "loads"), "xml": Import("xml")}, namespace)
    assert namespace == {"j": json, "loads": json.loads, "xml": xml}


def test_a_module_s_lazy_attribute_is_not_loaded_by_binding(packages: Packages) -> None:
    import heavy  # type: ignore[import-not-found]  # the fixture's

    bind({"lazy": Import("heavy", "lazy"), "heavy": Import("heavy", also=("heavy.part",))}, packages.namespace)
    assert packages.imported == ["heavy"]
    assert deferred(packages.namespace) == {"lazy", "heavy"}
    import_for("lazy, heavy.part", packages.namespace)
    assert packages.namespace["heavy"] is heavy


def test_binding_again_keeps_the_stand_in(packages: Packages) -> None:
    namespace = remote("import heavy", packages)
    first = namespace["heavy"]
    assert remote("import heavy", packages)["heavy"] is first
    assert remote("import heavy.part", packages)["heavy"] is not first


@pytest.mark.parametrize(
    "cell, names",
    [
        ("from heavy import LIMIT, SETTINGS", ""),
        ("from heavy import double\ndouble = 3", ""),
        ("import heavy\nheavy = 3", ""),
        ("import heavy\nmine = heavy", "heavy mine"),
        ("import heavy\nmine = heavy.double", "heavy"),
        ("def f():\n    global heavy\n    import heavy\nf()", "heavy"),
        ("from heavy import Model\nm = Model()", "Model"),
        ("from random import random, shuffle", "random shuffle"),
        ("from numpy.random import rand\nfrom numpy import sin, pi, float32", "float32 rand sin"),
        ("from functools import *", None),
    ],
)
def test_which_names_an_import_bound(packages: Packages, cell: str, names: str | None) -> None:
    there: dict[str, Any] = {"__name__": "__main__"}
    exec(cell, there)
    bound = [name for name in there if name[0] != "_"]
    found = bound_by_import(bound, there, import_statements(cell), analyse(cell).stars)
    if names is None:
        assert {"partial", "reduce", "wraps"} <= set(found)
    else:
        assert set(found) == set(names.split())


def test_a_package_that_is_not_here(packages: Packages) -> None:
    namespace: dict[str, Any] = packages.namespace
    bind(
        {"gp": Import("gpytorch_nowhere"), "nn": Import("gpytorch_nowhere.nn"), "f": Import("nowhere", "f")}, namespace
    )
    import_for("gp, nn, f", namespace)
    for use in ("gp.models", "nn.Linear(1)", "f(1)", "gp.__version__", "class A(f): pass"):
        with pytest.raises(ModuleNotFoundError) as caught:
            exec(use, namespace)
        assert str(caught.value).startswith(f"No module named {caught.value.name!r}")
        assert "in the container" in str(caught.value)
        assert "%%modal_gpu" in str(caught.value)
    assert not hasattr(namespace["gp"], "__array__")
    assert "gpytorch_nowhere" in repr(namespace["gp"])


@pytest.mark.parametrize(
    "statement, kind, text",
    [
        (Import("broken"), RuntimeError, "broken for good"),
        (Import("needy"), ModuleNotFoundError, "No module named 'module_that_is_nowhere'"),
        (Import("heavy", "nothing"), ImportError, "cannot import name 'nothing' from 'heavy' "),
        (Import("heavy.nothing"), ModuleNotFoundError, "No module named 'heavy.nothing'"),
    ],
)
def test_the_module_s_own_errors(packages: Packages, statement: Import, kind: type, text: str) -> None:
    bind({"x": statement}, packages.namespace)
    import_for("x", packages.namespace)
    with pytest.raises(kind) as caught:
        exec("x.y", packages.namespace)
    assert str(caught.value).startswith(text)


def test_after_a_stop_the_cell_that_uses_the_name_stops(packages: Packages) -> None:
    namespace: dict[str, Any] = packages.namespace
    bind({"slow": Import("slow"), "heavy": Import("heavy")}, namespace)
    import_for("heavy, slow", namespace)
    with pytest.raises(KeyboardInterrupt):
        exec("slow.x", namespace)
    assert namespace["heavy"].LIMIT == 3


def test_the_packages_an_image_needs_for_a_stand_in() -> None:
    namespace: dict[str, Any] = {}
    bind({"at": Import("atomic_nowhere", "f"), "s": Import("sklearn.svm", "SVC")}, namespace)
    namespace.setdefault("s", None)
    if type(namespace["s"]) is not DeferredImport:
        namespace["s"] = DeferredImport("s", Import("sklearn.svm", "SVC"), namespace)
    assert "sklearn" in needs(analyse("s()"), namespace, LocalModules()).imports
