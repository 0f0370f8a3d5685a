"""Pickle what `torch.compile` returns: the function or module, and the arguments of `torch.compile`.

The receiver compiles again at its first call. torch's own pickle of a compiled module leaves out `fullgraph` and
`dynamic`, and a compiled function is a closure over the state of torch's compiler (torch 2.13,
`torch/_dynamo/eval_frame.py`).
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import Any

from modal_gpu_magic.wire.pickles.types.notebook_functions import content_of

_MODULE = "torch._dynamo.eval_frame"
_PREFIX = "_torchdynamo_"
"""Prefix of the attributes that torch sets on a compiled function."""
_ID = f"{_PREFIX}wrapper_id"
"""Attribute with the `id` of the function that torch has made: a wrapper around that function has a copy of it."""
_SET_BY_TORCH = frozenset({"__wrapped__", "_is_torch_compile", "_isolate_recompiles_id"})
_CONTEXT, _FUNCTION = "self", "fn"
"""Variables of the closure: what compiles, and what is compiled."""


def is_context(kind: type) -> bool:
    """Whether a class is that of `torch.compile`'s arguments. An older torch has a pickle of its own for them."""
    torch: Any = sys.modules.get(_MODULE)
    return kind is getattr(torch, "OptimizeContext", None) and hasattr(torch, "innermost_backend")


def reduce_context(_: Any, context: Any) -> Any:
    """Return the reduction of the arguments of `torch.compile`."""
    torch: Any = sys.modules[_MODULE]
    hooks = getattr(context, "_hooks", None)
    options = {
        "nopython": context.fullgraph,
        "dynamic": context._dynamic,  # noqa: SLF001 - torch has no public name for it
        "guard_filter_fn": getattr(hooks, "guard_filter_fn", None),
    }
    return context_from, (torch.innermost_backend(context.callback), options)


def context_from(backend: Any, options: dict[str, Any]) -> Any:
    """Return the arguments of `torch.compile`, as an object that compiles functions and modules."""
    import torch._dynamo

    return torch._dynamo.optimize(backend=backend, **options)  # noqa: SLF001 - as torch.compile does


def is_compiled(function: FunctionType) -> bool:
    """Whether a function is what `torch.compile` or `torch.compiler.disable` has returned."""
    torch: Any = sys.modules.get(_MODULE)
    if torch is None or function.__globals__ is not vars(torch):
        return False
    return function.__dict__.get(_ID) == id(function) and {_CONTEXT, _FUNCTION} <= {*function.__code__.co_freevars}


def reduce_compiled(function: FunctionType) -> Any:
    """Return the reduction of a compiled function."""
    parts = _parts(function)
    attributes = _attributes(function)
    made = compiled_from, (parts[_CONTEXT], parts[_FUNCTION])
    return (*made, attributes, None, None, set_attributes) if attributes else made


def compiled_from(context: Any, function: Any) -> Any:
    """Return a function as `torch.compile` returns it."""
    return context(function)


def set_attributes(function: Any, attributes: dict[str, Any]) -> None:
    """Set the attributes of a compiled function that are not torch's."""
    function.__dict__.update(attributes)


def write(old: FunctionType, new: FunctionType) -> bool:
    """Write the attributes of a compiled function into another one of the same function and arguments.

    Returns:
        False: they compile different functions, or in different ways; nothing was written.
    """
    mine, its = _parts(old), _parts(new)
    if mine[_FUNCTION] is not its[_FUNCTION] or _arguments(mine[_CONTEXT]) != _arguments(its[_CONTEXT]):
        return False
    for name in _attributes(old):
        del old.__dict__[name]
    set_attributes(old, _attributes(new))
    return True


def _parts(function: FunctionType) -> dict[str, Any]:
    names = function.__code__.co_freevars
    return dict(zip(names, (content_of(cell, None) for cell in function.__closure__ or ()), strict=True))


def _arguments(context: Any) -> tuple[Any, ...]:
    return type(context), context.fullgraph, context._dynamic  # noqa: SLF001 - see `reduce_context`


def _attributes(function: FunctionType) -> dict[str, Any]:
    """Return the attributes of a compiled function that are not torch's."""
    return {name: value for name, value in function.__dict__.items() if not _is_of_torch(name, value)}


def _is_of_torch(name: str, value: Any) -> bool:
    is_made = type(value) is FunctionType and value.__globals__ is vars(sys.modules[_MODULE])
    return is_made or name.startswith(_PREFIX) or name in _SET_BY_TORCH
