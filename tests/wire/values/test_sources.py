"""The text of functions that travel."""

from __future__ import annotations

import ast
import inspect
import itertools
import linecache
from typing import TYPE_CHECKING, Any

import pytest

from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import pack, unpack
from modal_gpu_magic.wire.values.sources import gather, register
from tests.wire.far_side import FarSide, new_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL = """KEY = "hf_not_to_be_sent"

def fails(x):
    # a comment
    return [
        1 / x
        for _ in range(1)
    ]

OTHER = 1
class Model:
    def method(self):
        return fails(0)
"""
NAME = "<a cell of the test>"


@pytest.fixture
def near() -> Iterator[dict[str, Any]]:
    """A notebook in which a cell was run as IPython runs one: its text is in linecache."""
    linecache.cache[NAME] = (len(CELL), None, CELL.splitlines(keepends=True), NAME)
    namespace = new_namespace()
    exec(compile(CELL, NAME, "exec"), namespace)
    yield namespace
    linecache.cache.pop(NAME, None)


def test_only_the_lines_of_the_functions(near: dict[str, Any]) -> None:
    text = gather([near["fails"].__code__])[NAME]
    assert "hf_not_to_be_sent" not in text
    assert text.splitlines()[2] == "def fails(x):"
    assert text.splitlines()[6].strip() == "for _ in range(1)"
    assert len(text.splitlines()) <= 8


def test_a_traceback_over_there_shows_them(near: dict[str, Any]) -> None:
    with FarSide(near) as far:
        far.send("fails", "Model")
        shown = far.run(
            "import traceback, inspect\ntry:\n    Model().method()\nexcept ZeroDivisionError:\n    shown = traceback.format_exc()\n(shown, inspect.getsource(fails))"
        )
        assert "return fails(0)" in shown[0]
        assert "1 / x" in shown[0]
        assert shown[1].startswith("def fails(x):")


def test_what_is_known_here_stays(near: dict[str, Any]) -> None:
    store = InlineStore()
    transfer = pack({"fails": near["fails"]}, near, store)
    unpack(transfer, near, store)
    register({NAME: "another text\n"})
    assert "".join(linecache.getlines(NAME)) == CELL
    assert inspect.getsource(near["fails"]).startswith("def fails(x):")


def test_functions_of_one_cell_that_come_one_after_the_other(near: dict[str, Any]) -> None:
    first, second = gather([near["fails"].__code__]), gather([near["Model"].method.__code__])
    linecache.cache.pop(NAME)
    register(first)
    register(second)
    lines = linecache.getlines(NAME)
    assert lines[2] == "def fails(x):\n"
    assert lines[12].strip() == "return fails(0)"
    assert "KEY" not in "".join(lines)
    linecache.checkcache()
    assert linecache.getlines(NAME) == lines


def test_without_text_nothing_is_sent() -> None:
    namespace = new_namespace()
    exec("def f(): pass", namespace)
    assert gather([namespace["f"].__code__]) == {}


class TestAMethodBelowAFunction:
    """The class's head is no line of a function: without it, the function's text would go on with the method."""

    CELL = """def first(x):
    return x

class Model:
    rate = "hf_not_to_be_sent"

    def one(self):
        return 1
    other = 2
    @property
    def two(self):
        return 2

def made():
    class Inner:
        def deep(self):
            return 3
    return Inner
Inner = made()
def last():
    return 4
"""

    @pytest.fixture
    def cell(self) -> Iterator[dict[str, Any]]:
        linecache.cache[NAME] = (len(self.CELL), None, self.CELL.splitlines(keepends=True), NAME)
        namespace = new_namespace()
        exec(compile(self.CELL, NAME, "exec"), namespace)
        yield namespace
        linecache.cache.pop(NAME, None)

    @pytest.mark.parametrize("order", list(itertools.permutations(["first", "Model.one", "Model.two", "Inner.deep"])))
    @pytest.mark.parametrize("together", [True, False])
    def test_each_has_its_own_text(self, cell: dict[str, Any], order: tuple[str, ...], together: bool) -> None:
        functions = [eval(name if name != "Model.two" else "Model.two.fget", cell) for name in (*order, "last")]
        expected = [inspect.getsource(each) for each in functions]
        codes = [each.__code__ for each in functions]
        sent = [gather(codes)] if together else [gather([code]) for code in codes]
        linecache.cache.pop(NAME)
        for each in sent:
            register(each)
        assert [inspect.getsource(each) for each in functions] == expected
        assert "hf_not_to_be_sent" not in "".join(linecache.getlines(NAME))

    def test_the_text_is_valid_python(self, cell: dict[str, Any]) -> None:
        """IPython's tracebacks parse the whole text."""
        text = gather([cell["first"].__code__, cell["Model"].one.__code__, cell["Inner"].deep.__code__])[NAME]
        ast.parse(text)

    def test_a_line_of_the_user_replaces_the_head(self, cell: dict[str, Any]) -> None:
        second = gather([cell["Model"].two.fget.__code__])
        whole = {NAME: self.CELL}
        linecache.cache.pop(NAME)
        register(second)
        register(whole)
        assert "".join(linecache.getlines(NAME)) == self.CELL
