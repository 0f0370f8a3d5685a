"""Pickle torch tensors: storages go out of band, so that tensors which share a storage share one on both sides.

torch's own pickling copies every tensor through `torch.save` (0.5 s for 256 MB, against 1 ms) and loses the sharing.
Sparse, quantized, conjugated tensors and tensor subclasses are pickled by their plain parts (`tensor_kinds`).
A storage on a GPU is copied to the CPU and sent as bytes with the name of its device.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles import receiver
from modal_gpu_magic.wire.pickles.types import graphs
from modal_gpu_magic.wire.pickles.types.instances import set_slots, slots_in
from modal_gpu_magic.wire.pickles.types.tensor_kinds import has_own_storage, reduce_kind
from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.torch_facts import past_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.wire.pickles.protocol import Pickler

HOST_COPIES = frozenset({"cuda", "mps", "xpu"})
"""Devices whose storages are copied to the CPU by `storage.cpu()`."""

OWN_STORAGE_BYTES = 64 << 10
"""Storages up to this size are copied into memory of torch, so that they can be resized as in a native cell."""

SLIVER_BYTES = 1 << 20
"""Storages up to this size are sent whole with any view of them."""


@dataclass(frozen=True, slots=True)
class Device:
    """Represents the device of a storage in a stream; the loader decides where the storage goes."""

    name: str

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a call that the receiver's loader replaces by its own function."""
        return receiver.device, (self.name,)


def reducers() -> dict[type, Callable[[Pickler, Any], Any]]:
    """Return the reducers for torch's types; empty if torch is not imported."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "UntypedStorage") or "numpy" not in sys.modules:
        return {}
    return {
        torch.Tensor: reduce_tensor,
        torch.nn.Parameter: reduce_tensor,
        torch.UntypedStorage: _reduce_storage,
        torch.storage.TypedStorage: _reduce_typed_storage,
        torch.finfo: _reduce_info,
        torch.iinfo: _reduce_info,
    }


def reducer_of(kind: type) -> Callable[[Pickler, Any], Any] | None:
    """Return the reducer of a subclass of `Tensor`; None: the type is no tensor."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "Tensor") or "numpy" not in sys.modules:
        return None
    return reduce_tensor if issubclass(kind, torch.Tensor) else None


def _reduce_info(_: Pickler, info: Any) -> Any:
    return type(info), (getattr(sys.modules["torch"], info.dtype),)


def is_by_storage(kind: type) -> bool:
    """Whether tensors of a class can be sent by their storage: torch's own two types, and subclasses with a storage."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return False
    return issubclass(kind, torch.Tensor) and has_own_storage(kind)


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor that is sent by its storage: a strided one."""
    return is_by_storage(type(value)) and _is_strided(value)


@past_class
def _is_strided(value: Any) -> bool:
    torch = sys.modules["torch"]
    return (
        value.layout is torch.strided
        and (value.device.type == "cpu" or value.device.type in HOST_COPIES)
        and not (value.is_quantized or value.is_nested or value.is_conj() or value.is_neg())
    )


def is_sliver(value: Any) -> bool:
    """Whether a value is a view of less than half of a large storage, which should be sent without the rest."""
    return is_plain(value) and _is_small_part(value)


@past_class
def _is_small_part(value: Any) -> bool:
    storage = value.untyped_storage().nbytes()
    return bool(storage > SLIVER_BYTES and 2 * value.numel() * value.element_size() < storage)


def reduce_tensor(pickler: Pickler, tensor: Any, *, alone: bool = False) -> Any:
    """Return the reduction of a tensor.

    Args:
        pickler: the pickler.
        tensor: the tensor.
        alone: send a small view with a copy of its own elements only, unless its storage is in the stream already.
    """
    if graphs.has_graph(tensor):
        return graphs.reduce_result(pickler, tensor)
    return _reduce_strided(pickler, tensor, alone=alone) if is_plain(tensor) else reduce_kind(tensor)


@past_class
def _reduce_strided(pickler: Pickler, tensor: Any, *, alone: bool) -> Any:
    grad = tensor.grad if tensor.is_leaf else None
    alone = alone and is_sliver(tensor) and tensor.untyped_storage()._cdata not in pickler.storages  # noqa: SLF001
    source = tensor.detach().clone() if alone else tensor
    storage = source.untyped_storage()
    if alone:
        pickler.temporary.append(storage)
    else:
        storage = pickler.storages.setdefault(storage._cdata, storage)  # noqa: SLF001 - its identity, as torch.save has it
    shape = (source.dtype, source.storage_offset(), tuple(source.size()), source.stride())
    arguments = (type(tensor), storage, *shape, tensor.requires_grad, grad)
    state = dict(attributes_of(tensor) or {}), slots_in(tensor), *hooks_of(tensor)
    if not any(state):
        return tensor_from, arguments
    return tensor_from, arguments, state, None, None, set_attributes


def hooks_of(tensor: Any) -> tuple[Any, Any]:
    """Return the hooks that are called with a tensor's gradient, and after it was accumulated."""
    return tensor._backward_hooks, tensor._post_accumulate_grad_hooks  # noqa: SLF001 - torch has no public way


def _reduce_storage(pickler: Pickler, storage: Any) -> Any:
    torch = sys.modules["torch"]
    device = storage.device
    temporary = any(storage is copy for copy in pickler.temporary)
    if device.type in HOST_COPIES:
        storage, temporary = storage.cpu(), True
    elif device.type != "cpu":
        return NotImplemented
    view = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
    if temporary:
        pickler.temporary.append(view)
    return storage_from, (pickle.PickleBuffer(view), pickler.device(str(device)))


def _reduce_typed_storage(_: Pickler, storage: Any) -> Any:
    return typed_storage_from, (storage._untyped_storage, storage.dtype)  # noqa: SLF001 - the public `untyped()` creates a new object


def storage_from(buffer: Any, device: str) -> Any:
    """Return a storage over a buffer, without a copy if the buffer is large; on `device` if this machine has it."""
    import torch

    if not len(buffer):
        storage = torch.UntypedStorage(0)
    else:
        storage = torch.frombuffer(buffer, dtype=torch.uint8).untyped_storage()
        if len(buffer) <= OWN_STORAGE_BYTES:
            storage = storage.clone()
    if device == "cpu" or not _has_device(device):
        return storage
    return torch.empty(0, dtype=torch.uint8).set_(storage).to(device).untyped_storage()


@past_class
def tensor_from(
    kind: type,
    storage: Any,
    dtype: Any,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,  # noqa: FBT001 - a pickle passes arguments by position
    grad: Any,
) -> Any:
    """Return a tensor of a class over a storage."""
    import torch

    keep_hooks_apart()
    tensor: Any = torch.empty(0, dtype=dtype, device=storage.device).set_(storage, offset, size, stride)
    if kind is not torch.Tensor:
        tensor = torch.Tensor._make_subclass(kind, tensor, requires_grad)  # noqa: SLF001 - `Parameter` calls it
    elif requires_grad:
        tensor.requires_grad_()
    if grad is not None:
        tensor.grad = grad
    return tensor


def typed_storage_from(storage: Any, dtype: Any) -> Any:
    """Return the typed storage that torch's own pickles of sparse and quantized tensors need."""
    import torch

    return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


@past_class
def set_attributes(tensor: Any, state: tuple[dict[str, Any], dict[str, Any], Any, Any]) -> None:
    """Set the user's attributes and hooks of a tensor. Tensors' own `__setstate__` takes another state."""
    attributes, slots, *hooks = state
    own = attributes_of(tensor)
    if own is not None:
        own.clear()
        own.update(attributes)
    set_slots(tensor, slots)
    for name, now, new in zip(_HOOKS, hooks_of(tensor), hooks, strict=True):
        if now is not new:
            setattr(tensor, name, new)


_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


@functools.cache
def keep_hooks_apart() -> None:
    """Start this process's hook numbers at a random value, so that no other process gives the same numbers.

    torch numbers hooks from 0 in each process and stores a module's hooks by number: a new hook would replace one that
    was received with the module.
    """
    from torch.utils.hooks import RemovableHandle

    RemovableHandle.next_id = max(RemovableHandle.next_id, int.from_bytes(os.urandom(5), "big") << 20)


def _has_device(device: str) -> bool:
    import torch

    kind, _, index = device.partition(":")
    backend = torch.backends.mps if kind == "mps" else getattr(torch, kind, None)
    if backend is None or not backend.is_available():
        return False
    return kind == "mps" or int(index or 0) < backend.device_count()
