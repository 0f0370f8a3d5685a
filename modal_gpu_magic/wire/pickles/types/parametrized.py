"""Pickle modules that `torch.nn.utils.parametrize` changed: weight_norm, spectral_norm, or a user's parametrization.

torch gives such a module a class of its own, with a property for each parametrized tensor, and refuses to pickle it.
The receiver lets torch make the class again. The adapter to two private functions of torch, tested with torch 2.13; if
torch renames them, the module is refused with the name that is missing.
"""

from __future__ import annotations

import copyreg
import sys
from typing import Any

from modal_gpu_magic.wire.pickles.types import cloudpickle_names
from modal_gpu_magic.wire.values.kinds import module_of, name_of

_MODULE = "torch.nn.utils.parametrize"


def is_parametrized(kind: type) -> bool:
    """Whether a class was made for a parametrized module."""
    if module_of(kind) != _MODULE or not name_of(kind).startswith("Parametrized"):
        return False
    return getattr(sys.modules[_MODULE], name_of(kind), None) is not kind


def reduce_module(_: Any, module: Any) -> Any:
    """Return the reduction of a parametrized module: its state is what the class says that it had before."""
    kind = type(module)
    get_state = getattr(kind.__bases__[0], "__getstate__", None)
    state = vars(module) if get_state is None else get_state(module)
    return copyreg.__newobj__, (kind,), state  # type: ignore[attr-defined]  # pickle's own name for `__new__`


def reduce_kind(kind: type) -> Any:
    """Return the reduction of the class of a parametrized module: the class that it had before, the tensors' names."""
    made = kind_from, (kind.__bases__[0], cloudpickle_names.id_of(kind))
    return (*made, _parametrized(kind), None, None, set_parametrized)


def _parametrized(kind: type) -> list[str]:
    return [name for name, value in vars(kind).items() if type(value) is property]


def kind_from(before: Any, tracker_id: str) -> type:
    """Return this side's class of an id, or a new class without parametrized tensors."""
    known = cloudpickle_names.class_of(tracker_id)
    if known is not None:
        return known
    module = before.__new__(before)
    _of_torch("_inject_new_class")(module)
    return cloudpickle_names.track(tracker_id, type(module))


def set_parametrized(kind: Any, names: list[str]) -> None:
    """Give a class the properties of its parametrized tensors, and no others."""
    present = _parametrized(kind)
    for name in present:
        if name not in names:
            delattr(kind, name)
    for name in names:
        if name not in present:
            _of_torch("_inject_property")(kind.__new__(kind), name)


def _of_torch(name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(_MODULE), name)
