"""Exceptions as values: made here or there, read on either side, they are what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

LOOK = (
    "[(type(e).__name__, str(e), repr(e), e.args, vars(e), repr(e.__cause__), repr(e.__context__), "
    "e.__suppress_context__, [str(each) for each in getattr(e, 'exceptions', ())]) for e in [error]]"
)

MADE = {
    "formats": (
        "class E(Exception):\n    def __init__(self, code): super().__init__(f'failed with {code}'); self.code = code\n"
        "try: raise E(5)\nexcept E as e: error = e"
    ),
    "keyword only": (
        "class E(Exception):\n    def __init__(self, *, code): super().__init__(code, 'why'); self.code = code\n"
        "error = E(code=3)"
    ),
    "cause": "try:\n    try: {}['k']\n    except KeyError as k: raise ValueError('v') from k\nexcept ValueError as e: error = e",
    "context": "try:\n    try: {}['k']\n    except KeyError: raise ValueError('v')\nexcept ValueError as e: error = e",
    "no context": "try:\n    try: {}['k']\n    except KeyError: raise ValueError('v') from None\nexcept ValueError as e: error = e",
    "of a library": "import json\ntry: json.loads('{')\nexcept ValueError as e: error = e",
    "no file": "try: open('/no/such/file')\nexcept OSError as e: error = e",
    "a process": "import subprocess\ntry: subprocess.run(['false'], check=True)\nexcept Exception as e: error = e",
    "a group": "error = ExceptionGroup('both', [ValueError('a'), KeyError('b')]) if 'ExceptionGroup' in dir(__builtins__) else 1",
    "an import": "try: import no_such_module_at_all\nexcept ImportError as e: error = e",
}


@pytest.mark.parametrize("source", MADE.values(), ids=MADE.keys())
def test_one_made_there_is_the_same_here_and_there(pair: Pair, source: str) -> None:
    pair.story([source, f"HERE\n{LOOK}", LOOK, f"HERE\n{LOOK}"])


@pytest.mark.parametrize("source", MADE.values(), ids=MADE.keys())
def test_one_made_here_is_the_same_there(pair: Pair, source: str) -> None:
    pair.story([f"HERE\n{source}", LOOK, f"HERE\n{LOOK}", LOOK])


def test_one_may_be_given_attributes(pair: Pair) -> None:
    pair.story([MADE["formats"], "error.seen = [1]", f"HERE\n{LOOK}", "HERE\nerror.seen.append(2)", LOOK])


def test_the_error_that_a_cell_raises_is_the_cell_s(kernel: Kernel) -> None:
    """Its own class, not made anew of its formatted message."""
    kernel.remote(
        "class Failed(Exception):\n    def __init__(self, code): super().__init__(f'failed with {code}')", "T4"
    )
    assert kernel.remote("raise Failed(7)", "T4").error == "Failed: failed with 7"
    assert kernel.print("[__import__('sys').last_value.args, type(__import__('sys').last_value) is Failed]") == (
        "[('failed with 7',), True]"
    )


def test_reading_one_keeps_its_traceback_here(kernel: Kernel) -> None:
    kernel.run("try: 1 / 0\nexcept ZeroDivisionError as e: kept = e\nsame = kept")
    assert kernel.remote("str(kept)", "T4").value() == "'division by zero'"
    assert kernel.print("kept is same, kept.__traceback__ is not None") == "True True"
