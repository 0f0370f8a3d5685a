"""How sympy shows expressions, as `sympy.init_printing()` has set: the call makes functions, the methods of one class.

What the call registers for lists and numbers is in the state of libraries' printers (`wire.process.ipython`).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.ipython import is_of_library_call
from modal_gpu_magic.wire.process.process_state import settings

if TYPE_CHECKING:
    from modal_gpu_magic.wire.process.process_state import Items

_MODULE: Final = "sympy.interactive.printing"
_LATEX: Final = "_repr_latex_"
_DISABLED: Final = "_repr_disabled"
_SETTINGS: Final = "settings"
_METHODS: Final = {"_repr_png_": _DISABLED, "_repr_svg_": _DISABLED, _LATEX: _LATEX}
"""The methods by which IPython shows an expression, and the names of the functions that a new process has for them."""

_first: dict[str, Any] = {}
"""sympy's own function for the methods that were replaced in this process."""


def _printable() -> Any:
    return sys.modules[_MODULE].Printable  # the class of all expressions


def _printer() -> Any:
    return sys.modules["sympy.printing.printer"].Printer  # the base of all printers, which has the settings of all


def _read() -> Items:
    methods = {name: vars(_printable())[name] for name in _METHODS}
    functions = {name: each if is_of_library_call(each) else each.__name__ for name, each in methods.items()}
    return {**functions, _SETTINGS: dict(_printer()._global_settings)}  # noqa: SLF001 - sympy sets them, and returns none


def _write(name: str, value: Any) -> None:
    if name == _SETTINGS:
        _printer().set_global_settings(**value)
        return
    kind = _printable()
    if not is_of_library_call(vars(kind)[name]):
        _first.setdefault(name, vars(kind)[name])
    named = kind._repr_disabled if value == _DISABLED else _first.get(name)  # noqa: SLF001 - as sympy itself
    function = named if isinstance(value, str) else value
    if function is not None:
        setattr(kind, name, function)


SYMPY: Final = settings("sympy printing", _read, _write, lambda: {**_METHODS, _SETTINGS: {}}, _MODULE)
