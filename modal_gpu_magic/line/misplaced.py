"""Find headers that IPython would not read as such: below code, twice in a cell, or with another name.

IPython turns a cell into Python before it runs, and a magic into a call. `refusal_in` reads these calls, so that text
in strings and the bodies of other cell magics do not count.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError, masked

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "modal_gpu"
"""Name of the magics."""

_TEXT = r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_MAGIC = re.compile(rf"^[^\n'\"#]*?get_ipython\(\)\.run_(?P<kind>line|cell)_magic\({_TEXT}, {_TEXT}", re.MULTILINE)
_PROGRAM = re.compile(rf"^[^\n'\"#]*?get_ipython\(\)\.(?:system|getoutput)\({_TEXT}", re.MULTILINE)
_OURS = re.compile(r"modal[\W_]?gpus?[\W_]*(?P<rest>.*?)\W*", re.IGNORECASE)
_SHORT = frozenset({"gpu", "modal", "modalgpu", "modalgpus"})


def refusal_in(code: str, is_known: Callable[[str], bool]) -> LineError | None:
    """Return the error about the first header that is out of place or has another name; None: all is well.

    Args:
        code: a cell as IPython transformed it.
        is_known: whether a magic of this name exists, with `%%` or `%` before the name.
    """
    if "modal" not in code.lower() and "gpu" not in code.lower():
        return None
    for call in _MAGIC.finditer(code):
        name, line = ast.literal_eval(call[2]), ast.literal_eval(call[3])
        sign = "%%" if call["kind"] == "cell" else "%"
        if sign == "%" and name == f"%{NAME}":
            return _below(line)
        if not is_known(f"{sign}{name}") and (sentence := _misnamed(sign, name, line)):
            return LineError(sentence)
    for call in _PROGRAM.finditer(code):
        name, _, line = ast.literal_eval(call[1]).strip().partition(" ")
        if name.lstrip("%") == NAME:
            return LineError(f"{NAME} is a magic, not a program; write `{_header('%', line)}`.")
    return None


def second_header(line: str) -> LineError:
    """Return the error about a header just below a header."""
    return LineError(f"`{_header('%%', line)}` is the second header of this cell; keep one.")


def empty_cell(line: str) -> LineError:
    """Return the error about a header without code."""
    use = f"write `{_header('%', line)}` to choose the GPU of later cells" if line else "see `%modal_gpu help`"
    return LineError(f"This cell has no code; write the code below the header, or {use}.")


def _below(line: str) -> LineError:
    return LineError(
        f"`{_header('%%', line)}` is below code; move it to the first line of the cell, or split the cell."
    )


def _misnamed(sign: str, name: str, line: str) -> str | None:
    """Return the sentence for `%%modal-gpu`, `%%modalgpu`, `%%modal`, `%% modal_gpu`, `%%modal_gpu(T4)`."""
    written = f"{sign}{name}"
    if not name:
        name, _, line = line.partition(" ")
        written = f"{sign} {name}"
    ours = _OURS.fullmatch(name)
    if ours is None and name.lower() not in _SHORT and not nearest(name, (NAME,)):
        return None
    rest = ours["rest"] if ours else ""
    return f"No magic is called `{written}`; write `{_header(sign, f'{rest} {line}'.strip())}`."


def _header(sign: str, line: str) -> str:
    return f"{sign}{NAME} {masked(line)}".rstrip()
