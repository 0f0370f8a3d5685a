"""What calls add to the classes of pandas: `tqdm.pandas()`, and accessors of the notebook's classes (`frame.geo`)."""

from __future__ import annotations

import importlib
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.ipython import running_shell
from modal_gpu_magic.wire.process.plain_data import is_plain
from modal_gpu_magic.wire.process.process_state import settings
from modal_gpu_magic.wire.values.kinds import is_a

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.process.process_state import Items

_PANDAS: Final = "pandas"
_BAR: Final = "bar"
_OWNERS: Final = {
    "DataFrame": "register_dataframe_accessor",
    "Series": "register_series_accessor",
    "Index": "register_index_accessor",
}
"""Classes of pandas, each with the function of `pandas.api.extensions` that adds an accessor."""


class NamedAccessor:
    """Calls the class of the notebook that an accessor names; the class comes with the values, after the state."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, owner: Any) -> Any:
        """Return the accessor of a frame, a series or an index."""
        return running_shell().user_ns[self.name](owner)


def accessor_names() -> set[str]:
    """Return the names of the notebook's classes that accessors of pandas use."""
    return {name for _, name in _accessors()} if _PANDAS in sys.modules else set()


def _accessors() -> Iterator[tuple[str, str]]:
    """Yield `CLASS ATTRIBUTE` and the notebook's name for the accessor's class."""
    for owner in _OWNERS:
        for attribute, found in list(vars(getattr(sys.modules[_PANDAS], owner, object)).items()):
            accessor = getattr(found, "_accessor", None)  # pandas's own descriptor has no public reader of it
            if is_a(accessor, NamedAccessor):
                yield f"{owner} {attribute}", accessor.name
            elif is_a(accessor, type) and accessor.__module__ == "__main__":
                yield f"{owner} {attribute}", accessor.__name__


def _read() -> Items:
    return {**_bar(), **dict(_accessors())}


def _bar() -> Items:
    """Return class and options of the bar that `tqdm.pandas(**options)` has set."""
    method = vars(getattr(sys.modules[_PANDAS], "DataFrame", object)).get("progress_apply")
    if type(method) is not FunctionType or method.__module__ != "tqdm.std":
        return {}
    held = dict(
        zip(method.__code__.co_freevars, (cell.cell_contents for cell in method.__closure__ or ()), strict=True)
    )
    kind, options = held.get("cls"), held.get("tqdm_kwargs")
    return {_BAR: (kind.__module__, kind.__name__, options)} if is_a(kind, type) and is_plain(options) else {}


def _write(key: str, value: Any) -> None:
    if key == _BAR:
        module, name, options = value
        getattr(importlib.import_module(module), name).pandas(**options)
        return
    owner, attribute = key.split(" ", 1)
    if dict(_accessors()).get(key) != value:
        register = getattr(sys.modules[_PANDAS].api.extensions, _OWNERS[owner])
        register(attribute)(NamedAccessor(value))


EXTENSIONS: Final = settings("extensions of pandas", _read, _write, dict, _PANDAS)
