"""What libraries' types and torch's objects say of themselves, without loading the libraries."""

from __future__ import annotations

from typing import Any


def package_of(kind: type) -> str:
    """The top-level package that a type is of."""
    module: object = kind.__module__  # a property of the metaclass, in some
    return module.partition(".")[0] if isinstance(module, str) else ""


def is_storage(value: Any) -> bool:
    """Whether a value is an untyped storage: the memory that tensors lie over."""
    kind = type(value)
    return kind.__name__ == "UntypedStorage" and package_of(kind) == "torch"


def storage_id(tensor: Any) -> int:
    """The identity of the memory that a tensor lies over."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - as torch.save tells storages apart
