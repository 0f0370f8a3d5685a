"""The states of IPython's shell: its compiler and options, and how it shows values.

This module imports no IPython: a process without a shell has none of these states.
"""

from __future__ import annotations
import __future__

import functools
import importlib
import os
import sys
from functools import partial
from operator import itemgetter
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.process_state import State, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from modal_gpu_magic.wire.process.process_state import Items

NOTEBOOK: Final = "__main__"
"""The module of what cells define."""


def running_shell() -> Any:
    """Return the shell that runs cells; None: no shell does."""
    ipython: Any = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


# The compiler.

_FEATURES: Final = {
    name: feature.compiler_flag
    for name in __future__.all_feature_names
    if (release := (feature := getattr(__future__, name)).getMandatoryRelease()) is None or release > sys.version_info
}
"""Compiler flags of the features that `from __future__ import NAME` switches on for this cell and all later ones."""


def _features() -> Items:
    flags = getattr(getattr(running_shell(), "compile", None), "flags", 0)  # `codeop.Compile`
    return {name: bool(flags & flag) for name, flag in _FEATURES.items()}


def _write_feature(name: str, value: Any) -> None:
    compiler, flag = running_shell().compile, _FEATURES[name]
    compiler.flags = compiler.flags | flag if value else compiler.flags & ~flag


# Options.

_MODE, _COLOURS = "xmode", "colors"
_OPTIONS: Final = {"ast_node_interactivity": "last_expr", "autocall": 0, _MODE: "Context"}
"""Options of the shell, with IPython's defaults. `%xmode` sets the mode of the tracebacks alone."""


def _options() -> Items:
    shell = running_shell()
    if shell is None:
        return {}
    options = {name: getattr(shell, name) for name in (*_OPTIONS, _COLOURS) if name != _MODE}
    return {**options, _MODE: shell.InteractiveTB.mode}


def _usual_options() -> Items:
    """Return the options of a new shell."""
    kind: Any = type(running_shell())
    return {**_OPTIONS, _COLOURS: _usual_colours(kind)}


@functools.cache
def _usual_colours(shell: Any) -> Any:
    """Return the name of the colours that a class of shells has by default: versions of IPython differ in that."""
    return (
        getattr(shell.class_traits().get(_COLOURS), "default_value", None) if hasattr(shell, "class_traits") else None
    )


def _write_option(name: str, value: Any) -> None:
    if name == _MODE:
        running_shell().InteractiveTB.set_mode(mode=value)
    elif name in (*_OPTIONS, _COLOURS):
        setattr(running_shell(), name, value)


# How values are shown.

_TEXT: Final = {"pprint": True, "float_precision": "", "max_seq_length": 1000, "max_width": 79, "verbose": False}
"""Options of the text of values (`%precision`, `%pprint`), with IPython's defaults."""


def _formatters() -> dict[str, Any]:
    found: dict[str, Any] = getattr(getattr(running_shell(), "display_formatter", None), "formatters", {})
    return found


def _text_options() -> Items:
    formatter = _formatters().get("text/plain")
    return {} if formatter is None else {name: getattr(formatter, name) for name in _TEXT}


def _write_text_option(name: str, value: Any) -> None:
    if name in _TEXT:
        setattr(_formatters()["text/plain"], name, value)


class Remembered:
    """Reads items of dicts that rarely change; a comparison takes 2 µs, a look through all formatters 30 µs.

    Args:
        dicts: returns the dicts.
        read: reads the items of these dicts.
    """

    def __init__(self, dicts: Callable[[], list[dict[Any, Any]]], read: Callable[[], Items]) -> None:
        self._dicts, self._read = dicts, read
        self._seen: list[dict[Any, Any]] | None = None
        self._items: Items = {}

    def __call__(self) -> Items:
        """Return the items."""
        now = self._dicts()
        if now != self._seen:
            self._seen, self._items = [dict(each) for each in now], self._read()
        return self._items

    def with_removed(self, asked: Collection[str]) -> Items:
        """Return the items; None for each key that is asked for and no longer exists."""
        items = self()
        return {**dict.fromkeys(asked), **items} if asked or items else {}


def _all_printers() -> Items:
    """Read the functions of the notebook that show values of a type, by `MIME MODULE CLASS`."""
    return {
        f"{mime} {module} {name}": each
        for mime, formatter in _formatters().items()
        for module, name, each in _own_printers(formatter)
    }


def _own_printers(formatter: Any) -> Iterator[tuple[str, str, Any]]:
    for kind, printer in list(formatter.type_printers.items()):
        if is_the_notebooks(printer):
            yield kind.__module__, kind.__name__, printer
    for (module, name), printer in list(formatter.deferred_printers.items()):
        if is_the_notebooks(printer):
            yield module, name, printer


def _printer_dicts() -> list[dict[Any, Any]]:
    return [d for each in _formatters().values() for d in (each.type_printers, each.deferred_printers)]


PRINTERS: Final = Remembered(_printer_dicts, _all_printers)


def is_the_notebooks(function: Any) -> bool:
    """Whether a value is a function of the notebook."""
    return type(function) is FunctionType and function.__module__ == NOTEBOOK


def _write_printer(key: str, value: Any) -> None:
    """Set how values of a type are shown. Its class may come with the cell's values: the type is known by its name."""
    mime, module, name = key.split(" ", 2)
    formatter = _formatters()[mime]
    formatter.pop(f"{module}.{name}", None)
    if value is not None:
        formatter.for_type_by_name(module, name, on_this_side(value))


def on_this_side(function: Any) -> Any:
    """Return a function of the notebook with the variables of this side, instead of copies of the other side's."""
    made = FunctionType(
        function.__code__, running_shell().user_ns, function.__name__, function.__defaults__, function.__closure__
    )
    for name in ("__kwdefaults__", "__doc__", "__qualname__", "__module__"):
        setattr(made, name, getattr(function, name))
    made.__dict__.update(function.__dict__)
    return made


_MADE_IN_A_CALL: Final = "<locals>"
"""In the qualified name of a function that was made in a call of another one."""
OF_EVERY_SHELL: Final = ("IPython", "ipykernel", "matplotlib_inline", "modal_gpu_magic", NOTEBOOK)
"""Packages whose functions every shell has, or whose printers have a state of their own."""


def _all_library_printers() -> Items:
    """Read the functions that a call of a library made (`sympy.init_printing()`), by MIME, with module and class."""
    found = {mime: tuple(sorted(_library_printers(each), key=itemgetter(0, 1))) for mime, each in _formatters().items()}
    return {mime: printers for mime, printers in found.items() if printers}


def _library_printers(formatter: Any) -> Iterator[tuple[str, str, Any]]:
    named = {(kind.__module__, kind.__name__): each for kind, each in list(formatter.type_printers.items())}
    for (module, name), printer in {**formatter.deferred_printers, **named}.items():
        if is_of_library_call(printer):
            yield module, name, printer


def is_of_library_call(function: Any) -> bool:
    """Whether a library has made a function in a call, so that the other side cannot find the function by its name."""
    is_made = type(function) is FunctionType and _MADE_IN_A_CALL in function.__qualname__
    return is_made and str(function.__module__).partition(".")[0] not in OF_EVERY_SHELL


_LIBRARY_PRINTERS: Final = Remembered(_printer_dicts, _all_library_printers)


def _write_library_printers(mime: str, value: Any) -> None:
    """Set which functions of libraries show values; a type that had one and has none is shown as in a new process."""
    formatter = _formatters()[mime]
    usual = type(formatter)().type_printers
    for printers in (formatter.type_printers, formatter.deferred_printers):
        for key in [key for key, each in printers.items() if is_of_library_call(each)]:
            del printers[key]
            if key in usual:
                printers[key] = usual[key]
    for module, name, printer in value or ():
        formatter.pop(f"{module}.{name}", None)
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type):  # the library removes it by the class
            formatter.for_type(kind, printer)
        else:
            formatter.for_type_by_name(module, name, printer)


# Figures of matplotlib.

_INLINE: Final = "matplotlib_inline.backend_inline"
_FIGURE_OPTIONS: Final = {
    "figure_formats": ("png",),
    "print_figure_kwargs": {"bbox_inches": "tight"},
    "close_figures": True,
}
"""Options of `%config InlineBackend`, with their defaults."""
_PLAIN_PNG: Final = ("print_figure", {"fmt": "png", "base64": True, "bbox_inches": "tight"})
_FIGURE_MIMES: Final = ("image/png", "image/jpeg", "image/svg+xml", "application/pdf")


def _inline() -> Any:
    return sys.modules["matplotlib_inline.config"].InlineBackend.instance()


def _figure_options() -> Items:
    inline = _inline()
    return {
        "figure_formats": tuple(sorted(inline.figure_formats)),
        "print_figure_kwargs": dict(inline.print_figure_kwargs),
        "close_figures": inline.close_figures,
    }


def _write_figure_option(name: str, value: Any) -> None:
    inline = _inline()
    inline.shell = running_shell()
    setattr(inline, name, set(value) if name == "figure_formats" else value)


def _figure_class() -> Any:
    return sys.modules["matplotlib.figure"].Figure


def _all_figure_printers() -> Items:
    """Read how a figure is shown, as `set_matplotlib_formats` has set: a function of IPython's with its arguments."""
    printers = {mime: _formatters()[mime].type_printers.get(_figure_class()) for mime in _FIGURE_MIMES}
    if not any(printers.values()):  # the backend is imported, and not yet set up
        return {}
    return {mime: _described(each) for mime, each in printers.items() if each is None or _is_ipythons(each)}


def _is_ipythons(printer: Any) -> bool:
    return type(printer) is partial and not printer.args and printer.func.__module__ == "IPython.core.pylabtools"


def _described(printer: Any) -> tuple[str, dict[str, Any]] | None:
    return None if printer is None else (printer.func.__name__, dict(printer.keywords))


_FIGURE_PRINTERS: Final = Remembered(
    lambda: [_formatters()[mime].type_printers for mime in _FIGURE_MIMES], _all_figure_printers
)


def _write_figure_printer(mime: str, value: Any) -> None:
    formatter, figure = _formatters()[mime], _figure_class()
    formatter.type_printers.pop(figure, None)
    if value is not None:
        name, keywords = value
        formatter.for_type(figure, partial(getattr(sys.modules["IPython.core.pylabtools"], name), **keywords))


_BACKEND: Final = "backend"
_SILENT_BACKENDS: Final = frozenset({"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"})
"""Backends that show no figure, without those of a screen."""
_INLINE_BACKENDS: Final = frozenset({"inline", f"module://{_INLINE}"})
"""Names of the backend that shows figures below the cell."""


def _shows_inline() -> bool:
    """Whether figures appear below the cell unless the user says otherwise; in a terminal they do not."""
    return os.environ.get("MPLBACKEND") == f"module://{_INLINE}"


def _backend() -> str:
    """Return the name of the present backend, without letting matplotlib choose one, as `rcParams["backend"]` would."""
    return str(dict.get(sys.modules["matplotlib"].rcParams, _BACKEND)).lower()


def _read_backend(asked: Collection[str]) -> Items:
    """Read the backend if a cell has chosen one that shows no figures; None: figures are shown."""
    if not _shows_inline():
        return {}
    backend = _backend()
    if backend in _SILENT_BACKENDS:
        return {_BACKEND: backend}
    return {_BACKEND: None} if _BACKEND in asked else {}


def _write_backend(_: str, value: str | None) -> None:
    if _shows_inline() and value is None:
        running_shell().enable_matplotlib("inline")
    elif _shows_inline():
        sys.modules["matplotlib"].use(value)


_INTERACTIVE: Final = "interactive"


def load_backend() -> None:
    """Let pyplot load its backend as the first figure does: the inline one begins to show figures.

    `shell.enable_matplotlib` would also change what `%run` does.
    """
    importlib.import_module("matplotlib.pyplot")._get_backend_mod()  # noqa: SLF001 - `Figure.__setstate__` calls it, too


def _read_interactive() -> Items:
    """Read whether figures that a cell has drawn on are shown at its end: `plt.ioff()` ends that.

    The first figure loads the backend, which begins to show them. Before that, there is nothing to read.
    """
    if not _shows_inline() or _INLINE not in sys.modules or _backend() not in _INLINE_BACKENDS:
        return {}
    return {_INTERACTIVE: sys.modules["matplotlib"].is_interactive()}


def _write_interactive(_: str, value: bool) -> None:  # noqa: FBT001 - as all states are written
    shows_none = _backend() in _SILENT_BACKENDS
    if _shows_inline() and _INLINE not in sys.modules and not shows_none:
        load_backend()  # else the first figure would, and begin to show figures
    sys.modules["matplotlib"].interactive(value)


SHELL: Final = (
    settings("__future__", _features, _write_feature, lambda: dict.fromkeys(_FEATURES, False)),
    settings("shell", _options, _write_option, _usual_options),
    settings("text of values", _text_options, _write_text_option, lambda: _TEXT),
    State("printers", PRINTERS.with_removed, _write_printer),
    State("printers of libraries", _LIBRARY_PRINTERS.with_removed, _write_library_printers),
    settings("inline figures", _figure_options, _write_figure_option, lambda: _FIGURE_OPTIONS, _INLINE),
    settings(
        "figures",
        _FIGURE_PRINTERS,
        _write_figure_printer,
        lambda: {**dict.fromkeys(_FIGURE_MIMES), "image/png": _PLAIN_PNG},
        _INLINE,
    ),
    State("backend of figures", _read_backend, _write_backend, "matplotlib"),
    settings("interactive figures", _read_interactive, _write_interactive, dict, "matplotlib.pyplot"),
)
