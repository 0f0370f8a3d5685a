"""A table as text that fits and as HTML that takes its colours from the notebook."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.plan.table import Column, Row, Table

COLUMNS = (Column("name"), Column("size", right=True), Column("kind", width=8), Column("what it is for"))
TABLE = Table(
    COLUMNS,
    (
        Row(("a", "7", "one two three", "short"), "a <remark>"),
        Row(("longer", "1,234", "x", "for " + "many " * 12 + "things")),
    ),
    ("below",),
)


def test_as_text_cells_are_wrapped_and_numbers_stand_right() -> None:
    assert TABLE.text(50).splitlines() == [
        "name     size  kind      what it is for",
        "a           7  one two   short",
        "               three",
        "        a <remark>",
        "longer  1,234  x         for many many many many",
        "                         many many many many many",
        "                         many many many things",
        "below",
    ]


def test_as_html_every_cell_is_escaped_and_nothing_has_a_colour() -> None:
    shown = TABLE.html()
    assert shown == TABLE._repr_html_()
    assert re.findall(r"<th [^>]*>(.*?)</th>", shown) == ["name", "size", "kind", "what it is for"]
    cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", shown)]
    notes = (f"<br><small>{row.note}</small>" if row.note else "" for row in TABLE.rows)
    whole = [(*row.cells[:-1], row.cells[-1] + note) for row, note in zip(TABLE.rows, notes, strict=True)]
    assert cells == [text for cells in whole for text in cells]
    assert "<remark>" not in shown
    assert not re.search(r"colou?r|background|#[0-9a-f]{3}", shown)


def test_a_row_that_does_not_fit_its_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="4 cells"):
        Table(COLUMNS, (Row(("a",)),))


words = st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=9)


@given(st.lists(st.lists(words, max_size=12).map(" ".join), min_size=1, max_size=3), st.integers(40, 120))
def test_no_word_is_lost_and_no_line_is_too_long(texts: list[str], width: int) -> None:
    table = Table((Column("n"), Column("text")), tuple(Row(("1", text)) for text in texts))
    shown = table.text(width)
    assert shown.split()[2:] == [word for text in texts for word in ("1", *text.split())]
    assert max(map(len, shown.splitlines())) <= width
