"""Hide warnings while values are pickled, loaded and compared: a native cell does not do that, so shows no warning."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Hide warnings inside the `with` block.

    `catch_warnings` resets Python's record of shown warnings, so that each cell would show them again. It is therefore
    used only if a filter of the user turns warnings into errors.
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
    """Whether a filter turns built-in warnings into errors; IPython has such a filter for a warning of its own."""
    kinds = category if isinstance(category, tuple) else (category,)
    return action == "error" and any(kind.__module__ == "builtins" for kind in kinds)


def _show_nothing(*_: Any, **__: Any) -> None:
    """Replace `warnings.showwarning` and show nothing."""
