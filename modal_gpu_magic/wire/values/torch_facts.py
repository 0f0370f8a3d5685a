"""Facts about types of libraries and about torch's objects, without importing the libraries."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from modal_gpu_magic.wire.values.kinds import module_of, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")


def past_class(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function use tensors past the `__torch_function__` of their classes. torch must be loaded."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with sys.modules["torch"]._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - torch has no public name
            return function(*args, **kwargs)

    return run


def package_of(kind: type) -> str:
    """Return the top-level package of a type."""
    return module_of(kind).partition(".")[0]


def is_storage(value: Any) -> bool:
    """Whether a value is an untyped storage: the memory of tensors."""
    kind = type(value)
    return name_of(kind) == "UntypedStorage" and package_of(kind) == "torch"


@past_class
def storage_of(tensor: Any) -> Any:
    """Return a tensor's storage."""
    return tensor.untyped_storage()


def storage_id(tensor: Any) -> int:
    """Return the identity of a tensor's storage."""
    return int(storage_of(tensor)._cdata)  # noqa: SLF001 - torch.save identifies storages in the same way
