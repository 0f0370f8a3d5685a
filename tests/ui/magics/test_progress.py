"""How far a map is: tqdm's bar, or a line of text where tqdm is not installed; the results pass unchanged."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from modal_gpu_magic.ui.magics import progress


@pytest.mark.parametrize(("total", "shown"), [(3, "\rembed.predict 3/3\n"), (None, "\rembed.predict 3\n")])
def test_a_line_of_text(total: int | None, shown: str) -> None:
    with redirect_stderr(io.StringIO()) as text:
        assert list(progress.line(iter("abc"), total, "embed.predict")) == ["a", "b", "c"]
    assert text.getvalue().endswith(shown)


def test_tqdms_bar() -> None:
    shell: Any = InteractiveShell.instance()
    with redirect_stderr(io.StringIO()) as text:
        assert list(progress.watcher(shell)(iter(range(3)), 3, "embed.predict")) == [0, 1, 2]
    assert "embed.predict: 100%" in text.getvalue()
    assert "3/3" in text.getvalue()
