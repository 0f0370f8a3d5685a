"""Widgets of ipywidgets: both sides have one of the same number, which is the front end's, and its state travels.

A widget that is there already is changed in place. What the front end says reaches the notebook's; each side tells the
front end what it changes. What observes a widget stays on its side, and does not hear of what the other side changed.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from modal_gpu_magic.wire.pickles.protocol import Pickler

WIDGETS: Final = "ipywidgets.widgets.widget"
"""The module of the widgets' base class."""

TARGET: Final = "jupyter.widget"
"""What the front end knows a widget's comm by."""

_OWN: Final = frozenset({"comm", "keys", "log", "_msg_callbacks", "_property_lock", "_states_to_send"})
"""Traits that each side has for itself."""


def is_widget(kind: type) -> bool:
    """Whether a class is one of ipywidgets' widgets."""
    widgets = sys.modules.get(WIDGETS)
    return widgets is not None and issubclass(kind, widgets.Widget)


def reduce_widget(_: Pickler, widget: Any) -> tuple[Any, ...]:
    """How a widget is pickled: what it is called, then its state."""
    number = None if widget.comm is None else widget.model_id
    return twin, (type(widget), number), _state(widget), None, None, set_state


def twin(kind: Any, number: str | None) -> Any:
    """The widget of that number, made if it is not here; None: one that is closed."""
    import comm

    module = sys.modules.get(WIDGETS) or __import__(WIDGETS, fromlist=["Widget"])
    if number is None:
        return kind.__new__(kind)
    found = _instances(module).get(number)
    if type(found) is kind:
        return found
    quiet = comm.DummyComm(target_name=TARGET, comm_id=number, primary=False)
    if kind.__module__ != "__main__":  # as ipywidgets makes those that a front end asks for, with what they listen to
        with contextlib.suppress(Exception):
            return kind(comm=quiet)
    widget = kind.__new__(kind)
    module.Widget.__init__(widget, comm=quiet)
    return widget


def set_state(widget: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give it its state as it is, and its own way to the front end. Nothing is said: the front end knows."""
    values, attributes = state
    _values(widget).update(values)
    vars(widget).update(attributes)
    _connect(widget)


def _connect(widget: Any) -> None:
    """From here on it tells the front end what is changed. It does not open a comm: the front end has it."""
    import comm

    if isinstance(widget.comm, comm.DummyComm):
        mine: Any = comm.create_comm(target_name=TARGET, comm_id=widget.comm.comm_id, primary=False)
        comm.get_comm_manager().register_comm(mine)
        if getattr(mine, "kernel", mine) is None:  # ipykernel's: ipywidgets says nothing to a comm without a kernel
            mine.kernel = _kernel()
        widget.comm = mine


def _kernel() -> Any:
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None)


def _state(widget: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of its traits, and its other attributes less what listens to events."""
    module = sys.modules[WIDGETS]
    values, rest = _values(widget), vars(widget)
    return (
        {name: values[name] for name in sorted(values.keys() - _OWN)},
        {
            name: rest[name]
            for name in sorted(rest)
            if not _is_traitlets(name) and not isinstance(rest[name], module.CallbackDispatcher)
        },
    )


def _values(widget: Any) -> dict[str, Any]:
    """Traits that have a value. A private name of traitlets (5.15 is tested), which its own pickling uses as well.

    Without it no widget travels: pickling one says that the attribute is missing.
    """
    values: dict[str, Any] = widget._trait_values  # noqa: SLF001 - see above
    return values


def _instances(module: Any) -> dict[str, Any]:
    """The widgets of this process by number. A private name of ipywidgets 8; 7 has it at the class.

    Without it each transfer makes a new widget, which shows the same.
    """
    found: dict[str, Any] = module._instances if hasattr(module, "_instances") else module.Widget.widgets  # noqa: SLF001
    return found


def _is_traitlets(name: str) -> bool:
    """Whether an attribute is what traitlets and ipywidgets keep for the object they work on."""
    return name.startswith("_trait_") or name in {
        "_all_trait_default_generators",
        "_cross_validation_lock",
        "_model_id",
        "_repr_mimebundle_",
        "_static_immutable_initial_values",
    }
