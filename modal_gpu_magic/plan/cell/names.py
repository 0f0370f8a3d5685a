"""Find the names that a cell reads, binds, deletes, imports and may change in place: `analyse(source)`.

Pure. A name in doubt counts as read. Names looked up at run time are found if a string literal has the name
(`globals()["v"]`); `any_name` says that other names may be looked up (`globals()[key]`). Functions that the cell only
calls are not analysed (see `wire.values.referenced_globals`, `wire.values.lookups`).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.cellsource import parse_cell
from modal_gpu_magic.plan.cell.flow import Flow
from modal_gpu_magic.plan.cell.texts import KnownTexts

if TYPE_CHECKING:
    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.cell.texts import TextOf

_NONE: frozenset[str] = frozenset()

_FREE = frozenset({"globals", "vars", "locals", "dir", "eval", "exec", "__main__", "get_ipython", "__subclasses__"})
"""Names of which a tree that is not followed has none, if it looks up no name at run time."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a cell. All are global names, including builtins.

    Attributes:
        reads: names whose value from before the cell may be looked up, also by a function the cell defines.
        maybe: names of `reads` that the cell may not need: the cell binds them on another path, a function of the cell
            reads them and the cell binds them too, or only a string or an annotation has them.
        binds: names that the cell may bind, by any statement.
        deletes: names that the cell may delete (also by `except E as e`).
        imports: top-level names of the modules imported anywhere in the cell, without relative imports.
        stars: star-imported modules, with leading dots if relative; `binds` does not have their names.
        mutates: names whose value may be changed in place: assigned into, called, a method called, passed to a call,
            iterated over. Aliases are not followed.
        any_name: the cell may look up any name at run time: `globals()[key]`, `%who`, `unittest.main()`.
        calls: the cell may run other code; if not, no object changes in place.
        syntax_ok: False: the cell is invalid, and the other fields are empty.
    """

    reads: frozenset[str] = _NONE
    maybe: frozenset[str] = _NONE
    binds: frozenset[str] = _NONE
    deletes: frozenset[str] = _NONE
    imports: frozenset[str] = _NONE
    stars: frozenset[str] = _NONE
    mutates: frozenset[str] = _NONE
    any_name: bool = False
    calls: bool = False
    syntax_ok: bool = True


def analyse(source: str, transform: Transform | None = None, text_of: TextOf | None = None) -> Names:
    """Return the names of a cell. Never raises.

    Args:
        source: source of the cell without the line of this package's magic; may have `!ls`, `%time`, `%%capture`.
        transform: turns the cell into Python (`shell.transform_cell`); None: IPython's default.
        text_of: returns the string value of a global, for cells such as `exec(code)`; None: no values are known.
    """
    tree = parse_cell(source, transform)
    if tree is None:
        return Names(syntax_ok=False)
    texts = KnownTexts(text_of)
    flow = Flow(transform, texts)
    try:
        texts.note(tree.body)
        flow.visit_all(tree.body)
    except RecursionError:  # the compiler takes deeper trees than a visitor written in Python
        return _rough(tree)
    found = flow.ledger
    return Names(
        reads=frozenset(found.reads),
        maybe=frozenset(found.reads - found.sure - (found.later - found.binds)),
        binds=frozenset(found.binds),
        deletes=frozenset(found.deletes),
        imports=frozenset(flow.imports),
        stars=frozenset(flow.stars),
        mutates=frozenset(found.mutates),
        any_name=flow.any_now or (flow.any_later and flow.calls_functions),
        calls=flow.calls,
    )


def _rough(tree: ast.Module) -> Names:
    """Return a rough result without control flow: every name is read, and every assigned name is bound."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    every = frozenset(node.id for node in names)
    bound = frozenset(node.id for node in names if isinstance(node.ctx, ast.Store))
    return Names(reads=every, binds=bound, mutates=every, any_name=bool(every & _FREE), calls=True)
