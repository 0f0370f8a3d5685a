"""Names that a cell looks up at run time: found where a text names them, any name elsewhere, none where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.plan.cell.names import Names, analyse
from tests.plan.dynamic_cells import ANY, NAMED, NONE, SURE

NOTEBOOK = {
    "code": "total = price * 2",
    "formula": "y ~ sq(x)",
    "condition": "x > @limit",
    "template": "{greeting}, {who.name}",
    "essay": "A tilde ~ and an address@home.org in prose.",
    "corpus": "select x from everything " * 1000,
}


def read(source: str) -> Names:
    return analyse(source, text_of=NOTEBOOK.get)


@pytest.mark.parametrize("source, names", NAMED, ids=[source for source, _ in NAMED])
def test_a_text_names_names(source: str, names: str) -> None:
    found = read(source)
    assert found.syntax_ok
    assert not found.any_name
    expected = {name for name in names.split() if name not in found.binds or name in found.maybe}
    assert expected <= found.reads
    assert {name for name in found.maybe if name not in found.binds} == {
        n for n in names.split() if n not in found.binds
    }


@pytest.mark.parametrize("source, reads, binds", SURE, ids=[source for source, *_ in SURE])
def test_a_text_is_code(source: str, reads: str, binds: str) -> None:
    found = read(source)
    assert (" ".join(sorted(found.reads)), " ".join(sorted(found.binds))) == (reads, binds)


@pytest.mark.parametrize("source", ANY)
def test_any_name_may_be_looked_up(source: str) -> None:
    found = read(source)
    assert found.syntax_ok
    assert found.any_name


@pytest.mark.parametrize("source", NONE)
def test_no_other_name_is_looked_up(source: str) -> None:
    found = read(source)
    assert found.syntax_ok
    assert not found.any_name


def test_a_text_of_the_notebook_s_does_not_count_once_the_cell_binds_its_name() -> None:
    assert "price" not in read("code = 'a = 1'\nexec(code)").reads - {"price"}
    assert read("code = other()\nexec(code)").any_name
    assert not read("code = 'a = b'\nexec(code)").any_name


def test_a_name_of_a_text_is_one_the_cell_may_do_without() -> None:
    found = read("n = globals()['v']")
    assert "v" in found.maybe
    found = read("if 'rounds' not in globals():\n    rounds = 0\nrounds += 1")
    assert "rounds" in found.maybe


def test_a_value_found_by_a_text_may_be_changed_in_place() -> None:
    assert "v" in read("globals()['v'].append(1)").mutates


def test_a_tree_too_deep_to_follow_may_look_up_any_name() -> None:
    deep = " + ".join(["x", *["f(y)"] * 800])
    assert read(f"globals()\ntotal = {deep}").any_name
    assert not read(f"total = {deep}").any_name


PARTS = [
    "globals()",
    "vars",
    "dir(",
    "locals()",
    "__main__",
    "sys.modules['__main__']",
    "[",
    "]",
    "(",
    ")",
    ",",
    ".",
    "'v'",
    "key",
    "=",
    "in",
    "not",
    "**",
    "*",
    "%",
    ":",
    "for",
    "if",
    "def",
    "f",
    "\n",
    "format",
    "vformat(",
    "render(",
    "substitute(",
    "get",
    "pop",
    "update",
    "exec(",
    "eval(",
    "timeit.timeit(",
    "stmt=",
    "globals=",
    "pd.eval(",
    "x",
    "lambda",
    "",
    "import",
    "__main__",
    "from",
    "unittest",
    "main(",
    "getattr(",
    "user_ns",
    "{}",
    "f'{x}~y'",
    "'y~f(x)'",
    "aes(",
    "cProfile.run(",
    "import_module(",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=10))
def test_any_words(parts: list[str]) -> None:
    analyse(" ".join(parts), text_of=NOTEBOOK.get)


@pytest.mark.parametrize(
    "call", ["exec", "eval", "format", "x.vformat", "timeit.timeit", "pd.eval", "x.run_cell", "aes"]
)
def test_calls_without_the_text(call: str) -> None:
    assert analyse(f"{call}()").syntax_ok
    assert analyse(f"{call}(**globals())").syntax_ok
