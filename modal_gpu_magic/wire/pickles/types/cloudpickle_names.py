"""The adapter to cloudpickle's private names: pickling by name, and the ids of classes on both sides.

Tested with cloudpickle 3.1.3. If cloudpickle removes a name, an error names the missing one; if a name changes its
meaning, each transfer creates the notebook's classes again (`isinstance` fails between two cells).
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from cloudpickle import cloudpickle

from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.library_modules import is_loaded

if TYPE_CHECKING:
    from collections.abc import Iterable


def goes_by_name(value: Any) -> bool:
    """Whether a class or function can be found by its name in a module other than the notebook."""
    module = getattr(value, "__module__", None)
    if type(module) is str:
        is_loaded(module)  # cloudpickle finds a class in loaded modules alone
    return bool(cloudpickle._should_pickle_by_reference(value))  # noqa: SLF001 - see above


def is_by_value(function: types.FunctionType) -> bool:
    """Whether a function cannot be found by its name in a module other than the notebook."""
    return function.__module__ == "__main__" or not goes_by_name(function)


def submodules_of(code: types.CodeType, namespace: dict[str, Any], contents: Iterable[Any] = ()) -> tuple[Any, ...]:
    """Return submodules that code reaches through packages: `concurrent.futures` after `import concurrent`.

    Args:
        code: the code of a function.
        namespace: the function's globals.
        contents: contents of the function's cells.
    """
    named = (namespace.get(name) for name in cloudpickle._extract_code_globals(code))  # noqa: SLF001 - see above
    modules = [value for value in (*named, *contents) if is_a(value, types.ModuleType)]
    return tuple(cloudpickle._find_imported_submodules(code, modules)) if modules else ()  # noqa: SLF001 - see above


def id_of(value: type) -> str:
    """The id that a class has on both sides; a new one if the class has none."""
    return str(cloudpickle._get_or_create_tracker_id(value))  # noqa: SLF001 - see above


def class_of(tracker_id: str) -> type | None:
    """The class here that has the id."""
    return cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)  # type: ignore[no-any-return]  # noqa: SLF001


def track(tracker_id: str, made: type) -> type:
    """Give a class that was just made the id; returns the class here that has the id."""
    return cloudpickle._lookup_class_or_track(tracker_id, made)  # type: ignore[no-any-return]  # noqa: SLF001
