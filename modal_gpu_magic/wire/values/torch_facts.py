"""Facts about types of libraries and about torch's objects, without importing the libraries."""

from __future__ import annotations

from typing import Any


def package_of(kind: type) -> str:
    """Return the top-level package of a type."""
    module: object = kind.__module__  # a property of the metaclass in some libraries
    return module.partition(".")[0] if isinstance(module, str) else ""


def is_storage(value: Any) -> bool:
    """Whether a value is an untyped storage: the memory of tensors."""
    kind = type(value)
    return kind.__name__ == "UntypedStorage" and package_of(kind) == "torch"


def storage_id(tensor: Any) -> int:
    """Return the identity of a tensor's storage."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch.save identifies storages in the same way
