"""Hide warnings while values are pickled, loaded and compared: a native cell does not do that, so shows no warning."""

from __future__ import annotations

import contextlib
import re
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDING: Final = "(?#modal_gpu_magic)"
"""The message of the filter that hides all warnings inside a block: a regular expression that matches every text."""

_FILTER: Final[Any] = ("ignore", re.compile(HIDING, re.IGNORECASE), Warning, None, 0)
_blocks: Final[dict[object, list[Any]]] = {}
"""The open blocks, each with the list that it has put the filter into.

Those of several threads overlap, and do not end in the order of their beginning.
"""


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Hide warnings inside the `with` block.

    A filter is put into the present list, and removed from there. `catch_warnings` would replace the list, and put the
    former one back at the end, with what a cell's answer has changed inside the block; and it resets Python's record of
    shown warnings, so that each cell would show them again.
    """
    block = object()
    filters: Any = warnings.filters
    try:  # a press of ■ may come at any line of the kernel's side
        with contextlib.suppress(AttributeError, TypeError):  # a cell has made something else of the filters
            _blocks[block] = filters
            filters.insert(0, _FILTER)
        yield
    finally:
        _blocks.pop(block, None)
        for each in (filters, warnings.filters):  # `catch_warnings` of the user's may have replaced the list meanwhile
            if not any(each is other for other in _blocks.values()):
                _remove_filter(each)


def _remove_filter(filters: Any) -> None:
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # ValueError: is none
        while True:
            filters.remove(_FILTER)
