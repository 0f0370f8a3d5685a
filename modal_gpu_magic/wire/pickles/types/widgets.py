"""Pickle widgets of ipywidgets: each side has a widget with the same model id, and the state is sent.

An existing widget is changed in place. Messages of the front end reach the kernel's widget; each side sends its changes
to the front end. Observers of a widget stay on their side and are not called for changes of the other side.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import module_of

if TYPE_CHECKING:
    from modal_gpu_magic.wire.pickles.protocol import Pickler

WIDGETS: Final = "ipywidgets.widgets.widget"
"""The module of the widgets' base class."""

TARGET: Final = "jupyter.widget"
"""Target name of a widget's comm in the front end."""

_OWN: Final = frozenset({"comm", "keys", "log", "_msg_callbacks", "_property_lock", "_states_to_send"})
"""Traits that are not sent: each side has its own values."""


def is_widget(kind: type) -> bool:
    """Whether a class is one of ipywidgets' widgets."""
    widgets = sys.modules.get(WIDGETS)
    return widgets is not None and issubclass(kind, widgets.Widget)


def reduce_widget(_: Pickler, widget: Any) -> tuple[Any, ...]:
    """Return the reduction of a widget: class and model id, then the state."""
    number = None if widget.comm is None else widget.model_id
    return twin, (type(widget), number), _state(widget), None, None, set_state


def twin(kind: Any, number: str | None) -> Any:
    """Return the widget of a model id; create the widget if this side does not have it.

    Args:
        kind: class of the widget.
        number: the model id; None: the widget is closed.
    """
    import comm

    module = sys.modules.get(WIDGETS) or __import__(WIDGETS, fromlist=["Widget"])
    if number is None:
        return kind.__new__(kind)
    found = _instances(module).get(number)
    if type(found) is kind:
        return found
    quiet = comm.DummyComm(target_name=TARGET, comm_id=number, primary=False)
    if module_of(kind) != "__main__":  # as ipywidgets does for a front end, so that observers are set up
        with contextlib.suppress(Exception):
            return kind(comm=quiet)
    widget = kind.__new__(kind)
    module.Widget.__init__(widget, comm=quiet)
    return widget


def set_state(widget: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set the state of a widget and connect its comm. No message is sent: the front end has the state."""
    values, attributes = state
    _values(widget).update(values)
    vars(widget).update(attributes)
    _connect(widget)


def _connect(widget: Any) -> None:
    """Connect a widget to the existing comm of the front end, so that later changes are sent."""
    import comm

    if isinstance(widget.comm, comm.DummyComm):
        mine: Any = comm.create_comm(target_name=TARGET, comm_id=widget.comm.comm_id, primary=False)
        comm.get_comm_manager().register_comm(mine)
        if getattr(mine, "kernel", mine) is None:  # ipykernel's comm: ipywidgets sends nothing without a kernel
            mine.kernel = _kernel()
        widget.comm = mine


def _kernel() -> Any:
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None)


def _state(widget: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of a widget's traits, and its other attributes without callbacks."""
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
    """Return the traits that have a value: traitlets' private `_trait_values`, tested with 5.15.

    If traitlets removes the attribute, pickling a widget raises AttributeError.
    """
    values: dict[str, Any] = widget._trait_values  # noqa: SLF001 - see above
    return values


def _instances(module: Any) -> dict[str, Any]:
    """Return the widgets of this process by model id: ipywidgets' private `_instances`, or `Widget.widgets` in 7.

    If ipywidgets removes the attribute, loading a widget raises AttributeError.
    """
    found: dict[str, Any] = module._instances if hasattr(module, "_instances") else module.Widget.widgets  # noqa: SLF001
    return found


def _is_traitlets(name: str) -> bool:
    """Whether an attribute belongs to traitlets or ipywidgets themselves."""
    return name.startswith("_trait_") or name in {
        "_all_trait_default_generators",
        "_cross_validation_lock",
        "_model_id",
        "_repr_mimebundle_",
        "_static_immutable_initial_values",
    }
