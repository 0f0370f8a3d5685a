"""torch's optimizers: beside their state, that a scheduler watches their steps.

A scheduler wraps its optimizer's `step` when it is made, and warns where the wrapper is missing (torch 2.13,
`LRScheduler.__init__`). An optimizer's own pickle leaves the wrapper out, so that `scheduler.step()` would warn.
"""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any

WRAPPED = "_wrapped_by_lr_sched"
"""Attribute by which a scheduler knows its wrapper."""

CALLED = "_opt_called"
"""Attribute in which the wrapper notes that the optimizer has taken a step."""

OWN_PREFIX = "_optimizer_"
"""Of the attributes with an optimizer's hooks, which no pickle of it has."""


def is_optimizer(kind: type) -> bool:
    """Whether a class is one of torch's optimizers."""
    optim = sys.modules.get("torch.optim.optimizer")
    return optim is not None and issubclass(kind, optim.Optimizer)


def reduce_optimizer(_: Any, optimizer: Any) -> tuple[Any, ...]:
    """The pickle of an optimizer: its state, whether its steps are watched, whether it has taken one."""
    watched = hasattr(optimizer.step, WRAPPED)
    state = optimizer.__getstate__(), watched, getattr(optimizer, CALLED, False)
    return new_optimizer, (type(optimizer),), state, None, None, set_state


def new_optimizer(kind: Any) -> Any:
    """An optimizer without its state."""
    return kind.__new__(kind)


def set_state(optimizer: Any, state: tuple[dict[str, Any], bool, bool]) -> None:
    """Give an optimizer its state."""
    own, watched, called = state
    optimizer.__setstate__(own)
    if watched:
        watch(optimizer, called=called)


def write(old: Any, new: Any) -> bool:
    """Give an optimizer the state of another one; hooks stay."""
    fresh = {name: value for name, value in vars(new).items() if name != "step" and not name.startswith(OWN_PREFIX)}
    vars(old).update(fresh)
    if hasattr(new.step, WRAPPED):
        watch(old, called=getattr(new, CALLED, False))
    return True


def watch(optimizer: Any, *, called: bool) -> None:
    """Note the optimizer's steps, as a scheduler does that is made for it."""
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
