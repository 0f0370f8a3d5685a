"""Random programs: sent nothing but what it reads, a cell does exactly what it did here. Random text: never a crash."""

from __future__ import annotations

import symtable
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modal_gpu_magic.plan.cell.names import analyse
from tests.plan.programs import MADE, NAMES, programs, run, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

slow = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def plain(source: str) -> str:
    return source


def compiles(source: str) -> bool:
    try:
        compile(source, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:  # a name both global and a parameter, and the like
        return False
    return True


def all_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from all_tables(child)


@slow
@given(programs())
def test_a_program_needs_no_more_than_what_it_reads(source: str) -> None:
    assume(compiles(source))
    found = analyse(source, plain)
    assert found.syntax_ok
    here, before, end = run(source, frozenset(NAMES))
    there, after, end_there = run(source, found.reads)
    assert (there.log, end_there) == (here.log, end)
    every = {*NAMES, *MADE}
    changed = {name for name in every if name in before and shown(before[name]) != name}
    assert changed <= found.binds
    assert {name for name in NAMES if name not in before} <= found.deletes
    for name in found.binds:
        assert shown(before.get(name)) == shown(after.get(name)) or name not in after


@slow
@given(programs())
def test_only_what_the_compiler_takes_for_global_is_read(source: str) -> None:
    assume(compiles(source))
    found = analyse(source, plain)
    tables = [*all_tables(symtable.symtable(source, "<cell>", "exec"))]
    assert found.reads <= {
        symbol.get_name()
        for table in tables
        for symbol in table.get_symbols()
        # a class body finds a global where it has not bound its own yet; `x += 1` and `del x` read, and are no references
        if (symbol.is_referenced() or symbol.is_assigned() or symbol.is_imported())
        and (symbol.is_global() or table.get_type() != "function")
    }


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    analyse(text)


PARTS = [
    *("%%time", "%timeit -n 1", "%%capture out", "!ls {", "}", "$x", "x", "=", "(", ")", "[", ":", "\n", "\n    "),
    *(
        "def f",
        "class",
        "lambda",
        "for",
        "in",
        "if",
        "else",
        "del",
        "global",
        "import",
        "*",
        "@",
        "f'{",
        "'",
        '"""',
        "?",
    ),
    *("exec('", "')", "match x", "case", "_", "await", ",", "#", "\\", "\t", "%", "!", "with", "as", "try", "except"),
]


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=14))
def test_any_words(parts: list[str]) -> None:
    analyse(" ".join(parts))
