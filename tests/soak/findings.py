"""What the soak finds wrong, in the figures of its last line."""

from __future__ import annotations

from collections import Counter


class Unclean(Exception):  # noqa: N818 - a finding of a test
    """Something that a user would not have seen with a native kernel.

    Args:
        words: what was expected, and what was seen.
        lost: printed lines that are missing.
        doubled: printed lines that came more than once.
        wrong: values, sentences or outcomes that are not those of the model.
    """

    def __init__(self, words: str, *, lost: int = 0, doubled: int = 0, wrong: int = 0) -> None:
        super().__init__(words)
        self.lost, self.doubled, self.wrong = lost, doubled, wrong


def check_lines(seen: str, expected: str, what: str) -> None:
    """Check that exactly the expected lines were shown, in order.

    Raises:
        Unclean: they were not.
    """
    if seen == expected:
        return
    here, there = Counter(seen.splitlines()), Counter(expected.splitlines())
    lost, doubled = sum((there - here).values()), sum((here - there).values())
    raise Unclean(
        f"{what} printed {seen!r} instead of {expected!r}", lost=lost, doubled=doubled, wrong=int(not (lost or doubled))
    )
