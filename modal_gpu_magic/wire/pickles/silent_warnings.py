"""Hide warnings while values are pickled, loaded and compared: a native cell does not do that, so shows no warning."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_blocks: Final[set[object]] = set()
"""The open blocks: those of several threads overlap, and do not end in the order of their beginning."""
_shown_by: Final[list[Callable[..., None]]] = [warnings.showwarning]
"""What shows warnings outside the blocks."""


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Hide warnings inside the `with` block.

    `catch_warnings` resets Python's record of shown warnings, so that each cell would show them again. It is therefore
    used only if a filter of the user turns warnings into errors.
    """
    if _has_errors():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        return
    if warnings.showwarning is not _show_nothing:
        _shown_by[:] = [warnings.showwarning]
    block = object()
    try:  # a press of ■ may come at any line of the kernel's side
        _blocks.add(block)
        warnings.showwarning = _show_nothing
        yield
    finally:
        _blocks.discard(block)
        if not _blocks and warnings.showwarning is _show_nothing:
            (warnings.showwarning,) = _shown_by


def _has_errors() -> bool:
    """Whether a filter turns warnings into errors. What a cell has made of the filters may be none."""
    try:
        return any(_is_error(*each) for each in warnings.filters)
    except (TypeError, ValueError):
        return False


def _is_error(action: str, _: Any, category: Any, *__: Any) -> bool:
    """Whether a filter turns built-in warnings into errors; IPython has such a filter for a warning of its own."""
    kinds = category if isinstance(category, tuple) else (category,)
    return action == "error" and any(module_of(kind) == "builtins" for kind in kinds)


def _show_nothing(*_: Any, **__: Any) -> None:
    """Replace `warnings.showwarning` and show nothing."""
