"""Names bound by augmented assignment alone."""

from __future__ import annotations

import pytest

from modal_gpu_magic.plan.cell.inplace import only_augmented


@pytest.mark.parametrize(
    "source, names",
    [
        ("v += 1", {"v"}),
        ("v += 1\nw *= 2", {"v", "w"}),
        ("%time v += 1\nw += 1", {"w"}),
        ("if x:\n    v |= y", {"v"}),
        ("v = 1\nv += 1", set()),
        ("v += 1\nv: int = 2", set()),
        ("v += 1\ndel v\nfor v in y: pass", set()),
        ("v += 1\nimport v", set()),
        ("v += 1\nimport v.sub", set()),
        ("v += 1\nfrom a import b as v", set()),
        ("v += 1\ndef v(): pass", set()),
        ("v += 1\nclass v: pass", set()),
        ("v += 1\ntry: pass\nexcept E as v: pass", set()),
        ("v += 1\nwith a as v: pass", set()),
        ("v += 1\n(v := 2)", set()),
        ("v += 1\nmatch a:\n    case v: pass", set()),
        ("v += 1\nmatch a:\n    case [1, *v]: pass", set()),
        ("v += 1\nmatch a:\n    case {1: 2, **v}: pass", set()),
        ("a.v += 1\nb[0] += 1", set()),
        ("v", set()),
        ("v += (", set()),
    ],
)
def test_names_that_are_only_changed(source: str, names: set[str]) -> None:
    assert only_augmented(source) == names
