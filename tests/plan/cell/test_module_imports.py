"""Which modules a file imports."""

from __future__ import annotations

import pytest

from modal_gpu_magic.plan.cell.module_imports import imported


@pytest.mark.parametrize(
    "source, found",
    [
        (b"", set()),
        (b"import a, b.c as d", {"a", "b"}),
        (b"from a.b import c", {"a"}),
        (b"from . import c\nfrom .d import e", set()),
        (b"def f():\n    import a\nif x:\n    from b import *", {"a", "b"}),
        (b"import a\ndef f(:", set()),
        (b"import a\0", set()),
        ("# -*- coding: latin-1 -*-\nimport a  # é".encode("latin-1"), {"a"}),
        (b"\xff\xfe", set()),
    ],
)
def test_top_level_names(source: bytes, found: set[str]) -> None:
    assert imported(source) == found
