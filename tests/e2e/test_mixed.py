"""Whole notebooks in mixed mode show, cell by cell and number by number, what they show in a bare kernel: `mixed/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.cases.table import notebooks

if TYPE_CHECKING:
    from tests.e2e.cases.case import Case
    from tests.e2e.cases.twins import Twins


@pytest.mark.parametrize("notebook", [pytest.param(notebook, id=notebook.id) for notebook in notebooks()])
def test_a_notebook_shows_the_same(twins: Twins, notebook: Case) -> None:
    assert [str(difference) for difference in twins.play(notebook)] == []
