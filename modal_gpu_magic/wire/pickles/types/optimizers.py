"""Pickle torch's optimizers: their attributes, and the wrapper by which a scheduler counts their steps.

An optimizer's own pickle has three attributes only: `LBFGS`, hooks and a class of the notebook need the others as well.

A scheduler wraps `step` of its optimizer and warns if the wrapper is missing (torch 2.13, `LRScheduler.__init__`). An
optimizer's own pickle leaves the wrapper out, so that `scheduler.step()` would warn.
"""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any

from modal_gpu_magic.wire.pickles.types.tensors import keep_hooks_apart

WRAPPED = "_wrapped_by_lr_sched"
"""Attribute that marks a scheduler's wrapper."""

CALLED = "_opt_called"
"""Attribute that the wrapper sets after a step of the optimizer."""

_DEFAULTS = "defaults"
"""Attribute with the options of new parameter groups."""

_OF_THIS_PROCESS = frozenset({"_zero_grad_profile_name", CALLED})
"""Attributes that torch sets itself on each side."""


def is_optimizer(kind: type) -> bool:
    """Whether a class is one of torch's optimizers."""
    optim = sys.modules.get("torch.optim.optimizer")
    return optim is not None and issubclass(kind, optim.Optimizer)


def reduce_optimizer(_: Any, optimizer: Any) -> tuple[Any, ...]:
    """Return the reduction of an optimizer: state, whether `step` is wrapped, whether a step was taken."""
    state = _own(optimizer) if _tells_all(type(optimizer)) else optimizer.__getstate__()
    watched = hasattr(optimizer.step, WRAPPED)
    return new_optimizer, (type(optimizer),), (state, watched, getattr(optimizer, CALLED, False)), None, None, set_state


def _tells_all(kind: Any) -> bool:
    """Whether all attributes are pickled: a class with a `__getstate__` of its own says what its state is."""
    optimizer: Any = sys.modules["torch.optim.optimizer"].Optimizer
    return kind.__getstate__ is optimizer.__getstate__


def _own(optimizer: Any) -> dict[str, Any]:
    """Return the attributes of an optimizer without those that each side has for itself."""
    return {name: value for name, value in vars(optimizer).items() if not _is_of_torch(name, value)}


def _is_of_torch(name: str, value: Any) -> bool:
    is_wrapper = name == "step" and hasattr(value, WRAPPED)
    return is_wrapper or name in _OF_THIS_PROCESS


def new_optimizer(kind: Any) -> Any:
    """Return an optimizer without its state."""
    keep_hooks_apart()
    return kind.__new__(kind)


def set_state(optimizer: Any, state: tuple[dict[str, Any], bool, bool]) -> None:
    """Set the state of an optimizer and wrap `step` if it was wrapped."""
    own, watched, called = state
    options = frozenset(own.get(_DEFAULTS, ())) if type(own) is dict else None  # a class may have another state
    optimizer.__setstate__(own)
    if options is not None:
        for name in optimizer.defaults.keys() - options:  # torch adds one, for pickles of its old versions
            del optimizer.defaults[name]
    if watched:
        watch(optimizer, called=called)


def write(old: Any, new: Any) -> bool:
    """Write the state of an optimizer into another one."""
    fresh = _own(new)
    for name in _own(old) if _tells_all(type(old)) else ():
        del vars(old)[name]
    vars(old).update(fresh)
    if hasattr(new.step, WRAPPED):
        watch(old, called=getattr(new, CALLED, False))
    return True


def watch(optimizer: Any, *, called: bool) -> None:
    """Wrap `step` of an optimizer as a scheduler does.

    Args:
        optimizer: the optimizer.
        called: whether a step was taken before.
    """
    setattr(optimizer, CALLED, called)
    if hasattr(optimizer.step, WRAPPED):
        return
    its, function = weakref.ref(optimizer), type(optimizer).step

    @functools.wraps(function)
    def step(*args: Any, **keywords: Any) -> Any:
        mine = its()
        setattr(mine, CALLED, True)
        return function(mine, *args, **keywords)

    setattr(step, WRAPPED, True)
    optimizer.step = step
