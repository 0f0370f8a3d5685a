"""A user who stays: random cells, native and remote, some stopped at random, in one kernel and one attached session."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tests.soak.cells import BEGIN, LOOK, Cell, Model, Outcome, statements
from tests.soak.findings import Unclean, check_lines

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.e2e.kernel import Kernel, Result

HEADER: Final = "T4"
REMOTE_SHARE: Final = 0.7
STOPPED_SHARE: Final = 0.15
LATEST_PRESS_SECONDS: Final = 0.15
MOST_STATEMENTS: Final = 5


@dataclass(slots=True)
class Staying:
    """One kernel with one attached session, and the model of both.

    Attributes:
        acts: the cells so far, for a reproducer.
        stopped: how many were stopped.
    """

    kernel: Kernel
    choose: random.Random
    model: Model = field(default_factory=Model)
    acts: list[str] = field(default_factory=list)
    stopped: int = 0

    def begin(self) -> None:
        """Load the extension and bind the first values."""
        self.kernel.load()
        assert self.kernel.run(BEGIN).ok

    def step(self) -> None:
        """Run one random cell and compare.

        Raises:
            Unclean: what was seen is not what the model says.
        """
        cell = self._cell()
        self.acts.append(str(cell))
        run = self.kernel.remote if cell.remote else self.kernel.run
        press = () if cell.press is None else (cell.press,)
        limits: dict[str, Any] = {"timeout": 20, "may_lose_reply": True} if press else {"timeout": 120}
        result = run(cell.source, *((HEADER,) if cell.remote else ()), press=press, **limits)
        legal = list(self.model.legal(cell))
        if result.ok:
            legal = legal[-1:]
            check_lines(result.stdout, legal[0][0], "the cell")
        elif cell.press is None:
            raise Unclean(f"failed: {result.error}\n{result.traceback}", wrong=1)
        else:
            self.stopped += 1
            if "did not run" in result.error:
                legal = legal[:1]
        self._compare(legal, result.error)

    def _compare(self, legal: list[Outcome], error: str) -> None:
        """Compare both sides with the outcomes that are legal, and remember the one that was."""
        sides: list[Callable[..., Result]] = [partial(self.kernel.remote, header=HEADER), self.kernel.run]
        self.choose.shuffle(sides)
        seen = [side(f"print(repr(({LOOK})))", timeout=120) for side in sides]
        for each in seen:
            if not each.ok:
                raise Unclean(f"the values cannot be read: {each.error}\n{each.traceback}", wrong=1)
        one, other = (each.stdout.strip() for each in seen)
        fitting = [namespace for _, values, namespace in legal if values == one]
        if not fitting:
            words = (f"{error or 'no error'}; seen:", one, "legal:", *(values for _, values, _ in legal))
            raise Unclean("\n".join(words), wrong=1)
        self.model.kept = fitting[0]
        _, expected, self.model.kept = self.model.after()
        if other != expected:
            raise Unclean(f"the sides differ:\n{one}\n{other} instead of\n{expected}", wrong=1)

    def _cell(self) -> Cell:
        """Choose a cell."""
        lines = statements(self.choose, MOST_STATEMENTS)
        remote = self.choose.random() < REMOTE_SHARE
        stopped = remote and self.choose.random() < STOPPED_SHARE
        return Cell(lines, remote, self.choose.uniform(0, LATEST_PRESS_SECONDS) if stopped else None)
