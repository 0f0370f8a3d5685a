"""What torch's objects say of themselves, without loading torch."""

from __future__ import annotations

from typing import Any


def is_storage(value: Any) -> bool:
    """Whether a value is an untyped storage: the memory that tensors lie over."""
    kind = type(value)
    return kind.__name__ == "UntypedStorage" and kind.__module__.partition(".")[0] == "torch"


def storage_id(tensor: Any) -> int:
    """The identity of the memory that a tensor lies over."""
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - as torch.save tells storages apart
