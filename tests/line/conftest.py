"""What the tests of the grammar share: calling a reader that may refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modal_gpu_magic.errors import LineError

Refused = Callable[[Callable[[], object]], "LineError | None"]


@pytest.fixture(scope="session")
def refused() -> Refused:
    """Call it; the LineError it raised, or None. Any other error is a failure of the test."""

    def call(read: Callable[[], object]) -> LineError | None:
        try:
            read()
        except LineError as error:
            return error
        return None

    return call
