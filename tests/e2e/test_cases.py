"""Small notebooks of native and remote cells show what they show in a bare kernel: the table in `cases/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.cases.table import GROUPS, cases
from tests.e2e.cases.twins import Twins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.cases.case import Case


@pytest.fixture(scope="module")
def twins(request: pytest.FixtureRequest) -> Iterator[Twins]:
    """The kernels of one group of cases."""
    with Twins() as twins:
        yield twins


@pytest.mark.parametrize(
    ("twins", "case"),
    [pytest.param(group, case, id=f"{kind}/{case.id}") for group in GROUPS for kind, case in cases(group)],
    indirect=["twins"],
)
def test_a_case_shows_the_same(twins: Twins, case: Case) -> None:
    assert [str(difference) for difference in twins.play(case)] == []
