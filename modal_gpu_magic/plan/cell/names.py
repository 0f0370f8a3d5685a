"""Which names a cell reads, binds, deletes, imports and may change in place: `analyse(source)`.

Pure: text in, sets out. A name in doubt counts as read. Names looked up at run time are found where a literal text
names them (`globals()["v"]`); `any_name` says that others may be (`globals()[key]`). What functions do that the cell
only calls is not seen (for those: `wire.values.referenced_globals`, `wire.values.lookups`).
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
    """What a cell does with the names of the notebook. All are global names; builtins are reported like any other.

    Attributes:
        reads: names whose value from before the cell may be looked up, also by a function the cell defines.
        maybe: of `reads`, those the cell may do without: it binds them itself on another way, a function that it
            defines reads them and it binds them too, or only a string or an annotation names them.
        binds: names the cell may bind, by whatever statement. `deletes`: names it may unbind (also `except E as e`).
        imports: top-level names of the modules imported anywhere in the cell, relative imports left out.
        stars: modules star-imported, with leading dots where relative: what they bind is not in `binds`.
        mutates: names whose value may be changed in place where the cell can be seen to: assigned into, called,
            a method called, passed to a call, iterated over. Aliases are not followed.
        any_name: the cell may look up any name at run time: `globals()[key]`, `%who`, `unittest.main()`.
        calls: whether the cell runs any code of others at all; if not, nothing changes in place.
        syntax_ok: False: the text is no valid cell, and nothing is known of it.
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
    """The names of a cell. Never raises, whatever the text.

    Args:
        source: the cell as typed, without our own magic's line: with `!ls`, `%time`, `%%capture`, top-level `await`.
        transform: how it becomes Python (`shell.transform_cell`); None: as IPython does by default.
        text_of: the text that a global name has now, for cells like `exec(code)`; None: no text is known.
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
    """What can be said of a tree without following it: every name in it is read, and bound where it is assigned."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    every = frozenset(node.id for node in names)
    bound = frozenset(node.id for node in names if isinstance(node.ctx, ast.Store))
    return Names(reads=every, binds=bound, mutates=every, any_name=bool(every & _FREE), calls=True)
