"""Lines of the magic: a LineError whose caret is in the line, or a line that is the same when it is read again."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from pathlib import Path

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.errors import LineError, ModalGpuError
from modal_gpu_magic.line.cell import normalise, split_cell
from modal_gpu_magic.line.complete import complete, complete_recommend
from modal_gpu_magic.line.options import OPTIONS
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.plan.machine.definition import inherit
from tests.fuzz.target import Case, fault_of, ready, rearranged

WRONG = [
    text.splitlines()[0]
    for text in (Path(__file__).parents[1] / "line" / "wrong_lines.txt").read_text().split("\n\n")
    if text.strip()
]
SECRET = "s3kret+/99"
VALUES = ("1", "0", "-1", "8", "24GB..80GB", "2h", "90m", "1e999", "٣", "/data", "a:b", "A=1", "A='b c'", "torch==2.9")
PIECES = (
    *GPUS,
    *OPTIONS,
    *VALUES,
    *WRONG,
    *(" ", ",", ":", "!", "=", "#", "\\", '"', "'", "--", "—", "\t", "\0", "\x1b[31m", "é", "\u2028", "\udcff"),
)


def case(numbers: random.Random) -> str | None:
    """Read, complete and lay out one line."""
    words = [numbers.choice(PIECES) for _ in range(numbers.randrange(8))]
    line = rearranged(numbers.choice((" ", "", "  ")).join(words), PIECES, numbers)
    cursor = numbers.randrange(len(line) + 1)
    if numbers.random() < 0.3:
        line = _with_secret(line, numbers)
    cell = f"{numbers.choice(('', '# x', '%%modal_gpu ', '%%time'))}{line}\n{line}"
    return _named(line, fault_of(lambda: _read(line, cursor, cell)))


def _read(line: str, cursor: int, cell: str) -> None:
    complete(line, cursor)
    complete_recommend(line, cursor)
    parts = split_cell(cell)
    normal = normalise(cell)
    if parts is not None and normal.startswith("%%modal_gpu"):
        assert normal.endswith(parts.body), "the body was changed"
    try:
        read = parse(line)
        inherit(None, read, {}, {})
    except ModalGpuError as error:
        _says_something(error, line)
    else:
        others = [value for name, value in read.options.given().items() if name != "env"]
        assert SECRET not in repr(read) or SECRET in repr(others), "a line shows a secret"
        assert parse(str(read)) == read, f"written as {str(read)!r}, and read as another line"


def _with_secret(line: str, numbers: random.Random) -> str:
    """The line with a value of `--env` at one end."""
    quote = numbers.choice(("", "'", '"'))
    word = f"{numbers.choice(('--env ', '--env='))}{numbers.choice((quote, ''))}TOKEN={quote}{SECRET}"
    word += numbers.choice((quote, ""))
    return numbers.choice((f"{word} {line}", f"{line} {word}"))


def _says_something(error: ModalGpuError, line: str) -> None:
    assert str(error).strip(), "the error says nothing"
    assert not any(SECRET in text for text in (str(error), repr(error), repr(vars(error)))), "the error says a secret"
    if isinstance(error, LineError) and error.line:
        assert 0 <= error.start <= error.end <= len(line) + 1, "the caret is outside the line"


def _named(line: str, fault: str | None) -> str | None:
    return None if fault is None else f"{fault}: {line!r}"


def target() -> AbstractContextManager[Case]:
    """Lines need nothing."""
    return ready(case)
