"""Warnings while values are pickled, made and compared: natively none of that happens, so no cell shows them."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Show no warning in here.

    `catch_warnings` alone would make Python forget which warnings it has shown, and each cell would show them again. So
    it is used only where a filter of the user's makes errors of warnings.
    """
    if any(_is_error(*each) for each in warnings.filters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        return
    before = warnings.showwarning
    warnings.showwarning = _show_nothing
    try:
        yield
    finally:
        warnings.showwarning = before


def _is_error(action: str, _: Any, category: Any, *__: Any) -> bool:
    """Whether a filter makes errors of warnings that anybody gives; IPython makes one of a warning of its own."""
    kinds = category if isinstance(category, tuple) else (category,)
    return action == "error" and any(kind.__module__ == "builtins" for kind in kinds)


def _show_nothing(*_: Any, **__: Any) -> None:
    """Python calls it as `warnings.showwarning`."""
