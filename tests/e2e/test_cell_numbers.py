"""Tracebacks name the cell that defined a function by its number, whichever side defined it and whichever calls it."""

from __future__ import annotations

import re

import pytest

from tests.e2e.kernel import Kernel, Result

T4 = "T4"

DEFINED = """
def function(x):
    return 1 / x

class Odd:
    def method(self):
        return 1 / 0

    @property
    def attribute(self):
        return 1 / 0

    def __repr__(self):
        return str(1 / 0)

short = lambda x: 1 / x

def outer():
    def inner():
        return 1 / 0
    return inner

closure = outer()

def steps():
    yield 1
    yield 1 / 0

async def waits():
    return 1 / 0

def calls(given):
    return given(0)
"""

CALLS = {
    "function": "function(0)",
    "method": "Odd().method()",
    "property": "Odd().attribute",
    "repr": "Odd()",
    "lambda": "short(0)",
    "closure": "closure()",
    "generator": "list(steps())",
    "coroutine": "await waits()",
    "one through another": "calls(short)",
    "cause": "try:\n    function(0)\nexcept ZeroDivisionError as error:\n    raise ValueError('bad') from error",
}


def numbers(result: Result) -> list[int]:
    """The numbers of the cells in a traceback, from the outermost frame; a frame with a path instead is a failure."""
    assert not result.ok
    assert "ipykernel_" not in result.traceback, result.traceback
    return [int(number) for number in re.findall(r"^Cell In\[(\d+)\], line", result.traceback, re.MULTILINE)]


def next_number(kernel: Kernel) -> int:
    """The number of the cell that runs next: IPython counts a cell before it runs it."""
    return int(kernel.run("get_ipython().execution_count").value())


@pytest.mark.parametrize("near", [True, False], ids=["defined natively", "defined remotely"])
def test_both_sides_show_the_number_of_the_cell_that_defined_a_function(kernel: Kernel, near: bool) -> None:
    defined = next_number(kernel)
    assert (kernel.run(DEFINED) if near else kernel.remote(DEFINED, T4)).ok
    for name, source in CALLS.items():
        for result in (kernel.remote(source, T4), kernel.run(source)):
            assert defined in numbers(result), (name, result.traceback)


def test_a_cell_that_ran_twice_has_its_last_number_as_natively(kernel: Kernel) -> None:
    source = "def again(x):\n    return 1 / x\nbound = again"
    for run_once_more in (kernel.run, lambda cell: kernel.remote(cell, T4)):
        for _ in range(2):
            number = next_number(kernel)
            assert run_once_more(source).ok
            for called in ("again(0)", "bound(0)"):
                assert numbers(kernel.remote(called, T4))[-1] == number
                assert numbers(kernel.run(called))[-1] == number


def test_ranks_show_it_and_what_they_define_comes_home_with_it(kernel: Kernel) -> None:
    defined = next_number(kernel)
    assert kernel.run("def far(x):\n    return 1 / x").ok
    failed = kernel.remote("far(0)", "T4 --torchrun", timeout=150)
    assert numbers(failed)[-1] == defined
    by_ranks = next_number(kernel)
    made = kernel.remote("def of_ranks(x):\n    return 1 / x", "T4 --torchrun", timeout=150)
    assert made.ok, made.traceback
    assert numbers(kernel.run("of_ranks(0)"))[-1] == by_ranks
    assert numbers(kernel.remote("of_ranks(0)", T4))[-1] == by_ranks


def test_a_container_that_came_after_another_shows_it(kernel: Kernel) -> None:
    defined = next_number(kernel)
    assert kernel.run("def saved(x):\n    return 1 / x").ok
    assert kernel.remote("kept = [saved]", T4).ok
    assert kernel.run("%modal_gpu stop").ok
    assert numbers(kernel.remote("kept[0](0)", T4))[-1] == defined


def test_a_service_shows_it(kernel: Kernel) -> None:
    defined = next_number(kernel)
    assert kernel.run("def helper(x):\n    return 1 / x").ok
    of_service = next_number(kernel)
    made = kernel.remote("def fails(x):\n    return helper(x)", "--service numbered --max 1")
    assert made.ok, made.traceback
    failed = kernel.run("numbered.fails(0)")
    assert numbers(failed)[-2:] == [of_service, defined]
