"""Reducers that are found by the class of a value, and for some classes by one that the class is derived from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.exceptions import reduce_exception
from modal_gpu_magic.wire.pickles.widgets import WIDGETS, reduce_widget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reducer = Callable[[Any, Any], Any]


class WithBases(dict[type, Any]):
    """A table of reducers by class; `get` finds those of derived classes as well."""

    def __init__(self, table: Mapping[type, Reducer]) -> None:
        super().__init__(table)
        widgets = sys.modules.get(WIDGETS)
        self._widget: type | tuple[()] = () if widgets is None else widgets.Widget

    def get(self, kind: type, default: Any = None) -> Any:
        """The reducer of a class. Called for nearly every object."""
        found = super().get(kind, default)
        if found is not None:
            return found
        if issubclass(kind, BaseException):
            return reduce_exception
        return reduce_widget if issubclass(kind, self._widget) else default
