"""One reading of a cell has all that its text says."""

from __future__ import annotations

from modal_gpu_magic.plan.cell.cellsource import ipython_transform
from modal_gpu_magic.plan.cell.facts import CellFacts, read

SOURCE = "import numpy as np\ntotal += np.sum(values)\n!echo $name"


def test_a_cell_is_read_once() -> None:
    transformed = []

    def transform(source: str) -> str:
        transformed.append(source)
        return ipython_transform(source)

    facts = read(SOURCE, transform)
    assert transformed.count(SOURCE) == 1
    assert {"total", "values", "name"} <= facts.names.reads
    assert facts.names.binds == {"np", "total"}
    assert facts.augmented == {"total"}
    assert set(facts.import_statements) == {"np"}


def test_a_text_that_is_no_cell_has_no_facts() -> None:
    facts = read("def (")
    assert not facts.names.syntax_ok
    assert facts == CellFacts(facts.names)
