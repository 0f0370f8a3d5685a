"""Facts about types of libraries and about torch's objects, without importing the libraries."""

from __future__ import annotations

from typing import Any

from modal_gpu_magic.wire.values.kinds import module_of


def package_of(kind: type) -> str:
    """Return the top-level package of a type."""
    return module_of(kind).partition(".")[0]


def is_storage(value: Any) -> bool:
    """Whether a value is an untyped storage: the memory of tensors."""
    kind = type(value)
    return kind.__name__ == "UntypedStorage" and package_of(kind) == "torch"


def storage_id(tensor: Any) -> int:
    """Return the identity of a tensor's storage."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch.save identifies storages in the same way
