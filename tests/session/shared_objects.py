"""What each side's identity table says of an object, compared after a cell (ARCHITECTURE.md, "Identity")."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from modal_gpu_magic.wire.pickles.identity import IdentityTable

_COPIED = ("_attrs", "_warned_capturable_if_run_uncaptured")
"""Attributes of pandas' objects whose values a `__setstate__` copies; one that an optimizer has for its own process."""
_ATOMS = (int, float, str, type(None))


def contents(table: IdentityTable) -> dict[int, Any]:
    """The content of each object that a table has, by token; objects inside are given by their tokens."""
    found = {token: table.find(token) for token in set(table.token_of.values())}
    return {token: _content(table, value) for token, value in found.items() if value is not None}


def _content(table: IdentityTable, value: Any) -> Any:
    match value:
        case list() | tuple():
            return [_inner(table, each) for each in value]
        case dict():
            # by tokens for the keys as well: a tensor equals itself alone
            return {_inner(table, key): _inner(table, each) for key, each in value.items()}
        case np.ndarray() if value.dtype.names:
            return repr(value.tolist())  # arrays in it have no truth
        case np.ndarray() if value.dtype.hasobject:
            return [_inner(table, each) for each in value.view(np.ndarray).ravel()]
        case np.ndarray() | torch.Tensor():
            return value.tolist()
        case types.CellType():
            return _inner(table, value.cell_contents)
        case types.FunctionType():
            return [_inner(table, each) for each in (*(value.__defaults__ or ()), *(value.__closure__ or ()))]
    slots = {name: _inner(table, getattr(value, name)) for name in ("left", "right") if hasattr(value, name)}
    attributes = getattr(value, "__dict__", {}).items()
    return slots | {key: _inner(table, each) for key, each in attributes if key not in _COPIED}


def _inner(table: IdentityTable, value: Any) -> Any:
    if token := table.token(value):
        return "token", token
    if isinstance(value, _ATOMS):
        return value
    if isinstance(value, tuple):
        return tuple(_inner(table, each) for each in value)
    if isinstance(value, types.MethodType):
        return value.__name__, _inner(table, value.__self__)
    return type(value).__name__


def check_run(changed: dict[int, Any], kernel: IdentityTable, container: IdentityTable) -> None:
    """Check that the kernel has the content of what a run changed, or knows that it has not.

    Args:
        changed: what the run changed, by token, with the content after the run.
        kernel: the kernel's table after the answer.
        container: the container's table after the answer.
    """
    there, here = contents(container), contents(kernel)
    for token, content in changed.items():
        if token in here and token not in kernel.stale:
            assert here[token] == there.get(token, content), (token, here[token], there.get(token, content))
