"""Whole notebooks in mixed mode show, cell by cell and number by number, what they show in a bare kernel: `mixed/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.cases.table import notebooks
from tests.e2e.cases.twins import Twins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cases.case import Case


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    """The kernels which the notebooks share."""
    with Twins() as twins:
        yield twins


@pytest.mark.parametrize("notebook", [pytest.param(notebook, id=notebook.id) for notebook in notebooks()])
def test_a_notebook_shows_the_same(twins: Twins, notebook: Case) -> None:
    assert [str(difference) for difference in twins.play(notebook)] == []
