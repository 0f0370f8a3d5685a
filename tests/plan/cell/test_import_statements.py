"""The import statements of cells."""

from __future__ import annotations

import pytest

from modal_gpu_magic.plan.cell.import_statements import import_statements
from modal_gpu_magic.wire.values.imports import Import


@pytest.mark.parametrize(
    "source, found",
    [
        ("import a", {"a": (Import("a"),)}),
        ("import a as b, c", {"b": (Import("a"),), "c": (Import("c"),)}),
        ("import a.b.c", {"a": (Import("a", also=("a.b.c",)),)}),
        ("import a.b\nimport a.c", {"a": (Import("a", also=("a.b", "a.c")),)}),
        ("import a.b as c", {"c": (Import("a.b"),)}),
        ("from a.b import c as d, e", {"d": (Import("a.b", "c"),), "e": (Import("a.b", "e"),)}),
        ("from a import *", {}),
        ("from . import a", {}),
        ("from .a import b", {}),
        ("from __future__ import annotations", {}),
        ("try:\n    import a as m\nexcept ImportError:\n    import b as m", {"m": (Import("a"), Import("b"))}),
        ("if c:\n    import a\nelse:\n    from b import a", {"a": (Import("a"), Import("b", "a"))}),
        ("with w:\n    for i in r:\n        import a", {"a": (Import("a"),)}),
        ("match v:\n    case 1:\n        import a", {"a": (Import("a"),)}),
        ("def f():\n    import a\nclass A:\n    import b", {}),
        ("%%time\nimport a", {"a": (Import("a"),)}),
        ("%%capture\n%time import a", {"a": (Import("a"),)}),
        ("%time import a", {"a": (Import("a"),)}),
        ("%%timeit\nimport a", {}),
        ("!import a", {}),
        ("import a; import b", {"a": (Import("a"),), "b": (Import("b"),)}),
        ("import (", {}),
        ("", {}),
    ],
)
def test_import_statements(source: str, found: dict[str, tuple[Import, ...]]) -> None:
    assert import_statements(source) == found
