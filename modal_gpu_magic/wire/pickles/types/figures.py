"""Pickle matplotlib's figures, which may be open in pyplot: each side opens and closes them as the other one has.

`Figure.__setstate__` opens an open figure once more each time, and draws it, so that the notebook would show a figure
which the cell has not shown. The pickle of a registry of callbacks, of which a figure has dozens, takes the next number
of its counter, so that a figure which a cell only reads would cross again. The adapter to these pickles and to pyplot's
registry of figures, tested with matplotlib 3.11.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.process.ipython import load_backend

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = "_restore_to_pylab"
"""Item of a figure's state: the figure is open in pyplot."""

_COUNTER = "_cid_gen"
"""Attribute of a registry with the counter of its callbacks."""
_NOTED = "called"
"""Attribute that IPython gives `plt.draw_if_interactive`: whether it was called."""


def is_figure(kind: type) -> bool:
    """Whether a class is one of matplotlib's figures."""
    figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
    return figure is not None and issubclass(kind, figure)


def reduce_figure(_: Any, figure: Any) -> tuple[Any, ...]:
    """Return the reduction of a figure: its own, and `set_figure`."""
    make, arguments, state, *_ = figure.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    return make, arguments, state, None, None, set_figure


def set_figure(figure: Any, state: dict[str, Any]) -> None:
    """Set the state of a figure; open it or close it in pyplot, without showing it."""
    is_open, manager = state.get(_OPEN, False), _manager_of(figure)
    if manager is not None:
        state.pop(_OPEN, None)
    elif is_open:
        load_backend()  # it may begin to draw
    with _undrawn():
        figure.__setstate__(state)
    if manager is not None and is_open:
        figure.set_canvas(manager.canvas)
    elif manager is not None:
        _open_figures().destroy(manager)


def is_registry(kind: type) -> bool:
    """Whether a class is that of matplotlib's registries of callbacks."""
    return kind is getattr(sys.modules.get("matplotlib.cbook"), "CallbackRegistry", None)


def reduce_registry(_: Any, registry: Any) -> Any:
    """Return the reduction of a registry, whose counter stays where it is."""
    reduced = registry.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    state = reduced[2]
    if isinstance(state, dict) and type(state.get(_COUNTER)) is int:
        setattr(registry, _COUNTER, itertools.count(state[_COUNTER]))
    return reduced


def _manager_of(figure: Any) -> Any:
    """Return pyplot's manager of a figure; None: the figure is not open."""
    managers = list(_open_figures().figs.values()) if "matplotlib.pyplot" in sys.modules else []
    return next((each for each in managers if each.canvas.figure is figure), None)


def _open_figures() -> Any:
    """Return pyplot's registry of managers, which has no public name."""
    return sys.modules["matplotlib._pylab_helpers"].Gcf


@contextlib.contextmanager
def _undrawn() -> Iterator[None]:
    """Let pyplot draw nothing, and note no drawing for the end of IPython's `%run`."""
    matplotlib, plt = sys.modules["matplotlib"], sys.modules.get("matplotlib.pyplot")
    draws, drawing = matplotlib.is_interactive(), getattr(plt, "draw_if_interactive", None)
    is_noted = getattr(drawing, _NOTED, None)
    matplotlib.interactive(False)
    try:
        yield
    finally:
        matplotlib.interactive(draws)
        if is_noted is not None:
            setattr(drawing, _NOTED, is_noted)
