"""Notebooks about models, output, files and the process show, cells mixed, what they show in a bare kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.cases.table import cases

if TYPE_CHECKING:
    from tests.e2e.cases.case import Case
    from tests.e2e.cases.twins import Twins


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{kind}/{case.id}") for kind, case in cases("libraries")])
def test_a_case_shows_the_same(twins: Twins, case: Case) -> None:
    assert [str(difference) for difference in twins.play(case)] == []
