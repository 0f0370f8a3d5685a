"""Two kernels that run the cells of a case side by side: one bare, one with the magic. What they showed is compared."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.compare import SCRUBS, shown
from tests.e2e.kernel import Kernel
from tests.scrub import scrub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from tests.e2e.cases.case import Case, Cell
    from tests.e2e.kernel import Result

HEADER: Final = "T4"
RANDOM: Final = (
    (re.compile(r"sk-(container|estimator)-id-\d+"), r"sk-\1-id"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "id"),
)
"""Ids in what is shown: scikit-learn counts its estimators, a widget's model has a random one."""

KEEP: Final = """
def _keep(names, filters):
    def clean_up():
        import re, warnings
        history = re.compile(r"_+(i*|i?[0-9]+)").fullmatch
        for name in [name for name in globals() if name not in names and not history(name)]:
            globals().pop(name)
        for name, value in names.items():
            if globals().get(name) is not value and not history(name):
                globals()[name] = value
        warnings.filterwarnings("ignore", message="a new filter makes Python forget what was warned of")
        warnings.filters[:] = filters
    get_ipython().clean_up = clean_up
_keep({name: value for name, value in globals().items() if name != "_keep"}, list(__import__("warnings").filters))
del _keep
"""
CLEAN: Final = "get_ipython().clean_up()"
"""Deletes what a case has bound, puts back what it has bound anew, and the filters of warnings."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell of a case that did not do the same on both sides."""

    number: int
    cell: Cell
    native: Mapping[str, Any]
    remote: Mapping[str, Any]

    def __str__(self) -> str:
        """Which cell, and what each side showed where they differ."""
        parts = [
            f"{key} {left!r} → {self.remote[key]!r}" for key, left in self.native.items() if left != self.remote[key]
        ]
        return f"cell {self.number} ({self.cell.side}): " + " | ".join(parts)


@dataclass(slots=True)
class Twins:
    """A bare kernel, and one with the magic (`magic=False`: another bare one). Use them in a `with`."""

    magic: bool = True
    _open: ExitStack = field(default_factory=ExitStack, init=False)
    _kernels: tuple[Kernel, ...] = field(default=(), init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kernels = ()
        self._open.close()

    def play(self, case: Case) -> list[Difference]:
        """Run a case on both sides. Returns the cells that differ.

        Raises:
            AssertionError: The case itself is wrong: in the bare kernel a cell raises that should not, or does not.
        """
        native, other = self._kernels or self._start()
        try:
            found = list(self._compared(case, native, other))
            self._clean(case, native, other)
        except BaseException:
            self.__exit__(None, None, None)  # a kernel may be busy still: the next case begins with new ones
            raise
        return found

    def _compared(self, case: Case, native: Kernel, other: Kernel) -> Iterator[Difference]:
        for number, cell in enumerate((cell for cell in case.cells if cell.side != "END"), 1):
            there = cell.side == "R" and self.magic
            expected = native.run(commented(cell))
            assert expected.ok != cell.raises, f"cell {number} in the bare kernel: {expected.error or 'no error'}"
            result = other.remote(cell.source, f"{HEADER} {cell.options}") if there else other.run(commented(cell))
            left, right = seen(expected), seen(result)
            if there and left != right and refused(result, case):
                return
            if left != right:
                yield Difference(number, cell, left, right)

    def _start(self) -> tuple[Kernel, Kernel]:
        native, other = (self._open.enter_context(Kernel()) for _ in range(2))
        native.run(KEEP)
        if self.magic:
            other.load()
        other.run(KEEP)
        if self.magic:
            other.remote(KEEP, HEADER)
        self._kernels = (native, other)
        return native, other

    def _clean(self, case: Case, native: Kernel, other: Kernel) -> None:
        for source in (*(cell.source for cell in case.cells if cell.side == "END"), CLEAN):
            cleaned = native.run(source)
            assert cleaned.ok, f"cleaning up: {cleaned.error}"
            other.run(source)
            if self.magic:
                other.remote(source, HEADER)


def commented(cell: Cell) -> str:
    """The source of a cell for a bare kernel: a comment stands where the magic's header would, so that lines count alike."""
    plain = cell.side == "N" or cell.source.startswith("%%")
    return cell.source if plain else f"# %%modal_gpu {HEADER}\n{cell.source}"


def refused(result: Result, case: Case) -> bool:
    """Whether the magic refused a cell before it ran, as the case allows."""
    alone = all(message.kind == "error" for message in result.messages)
    return bool(case.refused) and alone and not result.ok and case.refused in result.error


def seen(result: Result) -> dict[str, Any]:
    """What a cell showed: stderr; everything else in order; the error. Tracebacks have tests of their own."""
    rest = [message for message in result.messages if message.content.get("name") != "stderr"]
    items = [
        (kind, {key: value for key, value in content.items() if key not in ("metadata", "traceback")})
        for kind, content in shown(replace(result, messages=tuple(rest)))[:-1]
    ]
    return {
        "shown": scrub(items, RANDOM),
        "stderr": scrub(result.stderr, SCRUBS),
        "error": scrub(result.error, SCRUBS),
    }
