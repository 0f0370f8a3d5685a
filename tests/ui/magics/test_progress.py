"""How far a map is: one line, updated in place; the results pass unchanged."""

from __future__ import annotations

import pytest

from modal_gpu_magic.ui.magics import progress


def test_the_results_pass_and_the_last_line_counts_all() -> None:
    shown: list[tuple[str, bool]] = []
    results = progress.counted(iter("abc"), 3, "embed.predict", lambda line, last: shown.append((line, last)))
    assert list(results) == ["a", "b", "c"]
    assert shown[0] == ("embed.predict 0/3", False)
    assert shown[-1] == ("embed.predict 3/3 in 0.0 s", True)
    assert [last for _, last in shown].count(True) == 1


def test_a_map_that_is_given_up_says_how_far_it_came() -> None:
    shown: list[str] = []
    results = progress.counted(iter("abc"), None, "embed.predict", lambda line, _: shown.append(line))
    assert next(results) == "a"
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert shown[-1] == "embed.predict 1 in 0.0 s · stopped"


def test_an_error_of_a_call_is_raised_below_the_line() -> None:
    shown: list[str] = []

    def fails() -> object:
        yield 1
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        list(progress.counted(fails(), 2, "f", lambda line, _: shown.append(line)))  # type: ignore[arg-type]
    assert shown[-1] == "f 1/2 in 0.0 s · stopped"


@pytest.mark.parametrize(
    ("done", "total", "seconds", "outcome", "line"),
    [
        (0, 100, 0.0, None, "f 0/100"),
        (0, None, 3.0, None, "f 0"),
        (30, 100, 2.5, None, "f 30/100 · 12/s · 5.8 s left"),
        (1, 1000, 4.0, None, "f 1/1000 · 0.25/s · 66:36 left"),
        (30, None, 10.0, None, "f 30 · 3/s"),
        (100, 100, 8.2, "", "f 100/100 in 8.2 s"),
        (100, 100, 185.0, "", "f 100/100 in 3:05"),
        (5, 100, 59.6, "stopped", "f 5/100 in 60 s · stopped"),
    ],
)
def test_the_line(done: int, total: int | None, seconds: float, outcome: str | None, line: str) -> None:
    assert progress.text("f", done, total, seconds, outcome) == line
