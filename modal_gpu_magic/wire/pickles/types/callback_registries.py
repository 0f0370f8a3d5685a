"""Pickle matplotlib's registries of callbacks, of which a figure has dozens, without counting on.

The pickle of a registry takes the next number of its counter (matplotlib 3.11, `CallbackRegistry.__getstate__`). So a
pickle of a figure would differ from the last one, and a figure that a cell only reads would cross again.
"""

from __future__ import annotations

import itertools
import pickle
import sys
from typing import Any

_COUNTER = "_cid_gen"


def is_registry(kind: type) -> bool:
    """Whether a class is that of matplotlib's registries."""
    return kind is getattr(sys.modules.get("matplotlib.cbook"), "CallbackRegistry", None)


def reduce_registry(_: Any, registry: Any) -> Any:
    """Return the reduction of a registry, whose counter stays where it is."""
    reduced = registry.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    state = reduced[2]
    if isinstance(state, dict) and type(state.get(_COUNTER)) is int:
        setattr(registry, _COUNTER, itertools.count(state[_COUNTER]))
    return reduced
