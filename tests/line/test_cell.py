"""Headers in cells: comments above, continued lines, and that every line of the body stays at its number."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from modal_gpu_magic.line.cell import CellParts, normalise, split_cell

# Source; the line, the body and the number of its first line; what IPython gets to see.
CELLS = [
    ("%%modal_gpu", CellParts("", "", 2), "%%modal_gpu"),
    ("%%modal_gpu H100\nx = 1\n", CellParts("H100", "x = 1\n", 2), "%%modal_gpu H100\nx = 1\n"),
    ("# why\n\n%%modal_gpu H100\nx", CellParts("H100", "x", 4, ("# why", "")), "%%modal_gpu H100\n# why\n#\nx"),
    (
        "%%modal_gpu H100 \\\n    --pip torch\nx",
        CellParts("H100 --pip torch", "x", 3),
        "%%modal_gpu H100 --pip torch\n#\nx",
    ),
    (
        "%%modal_gpu \\\n --pip torch,\\\n einops \\  \n\nx",
        CellParts("--pip torch,einops", "x", 5),
        "%%modal_gpu --pip torch,einops\n#\n#\n#\nx",
    ),
    ("# a\n%%modal_gpu H100 # b \\\nx", CellParts("H100 # b \\", "x", 3, ("# a",)), "%%modal_gpu H100 # b \\\n# a\nx"),
    ("%%modal_gpu --run 'a # \\\nb'\nx", CellParts("--run 'a # b'", "x", 3), "%%modal_gpu --run 'a # b'\n#\nx"),
    ("%%modal_gpu H100 \\", CellParts("H100", "", 2), "%%modal_gpu H100\n"),
    ("\n# a\n%%modal_gpu\n%%time\nx", CellParts("", "%%time\nx", 4, ("", "# a")), "%%modal_gpu\n%%time\nx"),
    ("%%modal_gpu a\\\\\nx", CellParts("a\\\\", "x", 2), "%%modal_gpu a\\\\\nx"),
    ("#a\n%%modal_gpu", CellParts("", "", 3, ("#a",)), "%%modal_gpu\n#a\n"),
]


@pytest.mark.parametrize("source, parts, seen", CELLS)
def test_cells(source: str, parts: CellParts, seen: str) -> None:
    assert split_cell(source) == parts
    assert normalise(source) == seen


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x = 1",
        "# only\n# comments",
        "%%modal_gpux H100\nx",
        "%%time\n%%modal_gpu H100",
        "x\n%%modal_gpu H100",
        "# a\n  %%modal_gpu H100",
        "%modal_gpu use H100",
        "# %%modal_gpu\nx",
    ],
)
def test_other_cells_are_left_alone(source: str) -> None:
    assert split_cell(source) is None
    assert normalise(source) == source


above = st.lists(st.sampled_from(["", "# why", "  # indented", " "]), max_size=4)
headers = st.lists(st.sampled_from(["H100", "--pip torch,", "--quiet", "'a # b'"]), min_size=1, max_size=4)


@given(above, headers, st.integers(0, 3))
def test_a_line_of_the_body_keeps_its_number(above: list[str], header: list[str], blank: int) -> None:
    source = "\n".join([*above, "%%modal_gpu " + " \\\n    ".join(header), *[""] * blank, "x = 1", "", "mark = 2"])
    number = source.split("\n").index("mark = 2") + 1
    seen = normalise(source)
    assert seen.split("\n")[number - 1] == "mark = 2"
    assert seen.count("\n") == source.count("\n")
    assert normalise(seen) == seen
    parts, again = split_cell(source), split_cell(seen)
    assert parts is not None
    assert again is not None
    assert parts.line == again.line
    assert source.split("\n")[parts.first_body_line - 1 :] == parts.body.split("\n")


@given(
    st.lists(st.sampled_from(["%%modal_gpu", "%%modal_gpu H100 \\", "# a", "", "x = 1", "\\", "'", " "]), max_size=6)
)
def test_it_is_done_once(lines: list[str]) -> None:
    seen = normalise("\n".join(lines))
    assert normalise(seen) == seen


def test_ipython_hands_over_the_body_at_its_lines() -> None:
    source = "# Train it.\n\n%%modal_gpu H100:2 \\\n    --timeout 2h\n\nimport torch\nraise ValueError('line 7')\n"
    transformer = TransformerManager()
    transformer.cleanup_transforms.insert(0, lambda lines: normalise("".join(lines)).splitlines(keepends=True))
    call = ast.parse(transformer.transform_cell(source)).body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    magic, line, body = (ast.literal_eval(argument) for argument in call.value.args)
    assert (magic, line) == ("modal_gpu", "H100:2 --timeout 2h")
    assert body.split("\n")[7 - 2] == "raise ValueError('line 7')"  # the body's first line is the cell's second
