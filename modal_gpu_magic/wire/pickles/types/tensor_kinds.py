"""Pickle tensors that are not plain strided ones (sparse, quantized, conjugated, subclasses) by their plain parts.

torch's own pickling warns in the user's cell (typed storages), and turns a subclass of `Parameter` into `Parameter`.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def reduce_kind(tensor: Any) -> Any:
    """Return the reduction of such a tensor; NotImplemented if torch's own reduction is equal or the only one."""
    torch = sys.modules["torch"]
    kind = type(tensor)
    if tensor.device.type == "meta" or has_own_storage(kind) is False or tensor.is_nested:
        return NotImplemented
    parts = _parts(tensor.detach().as_subclass(torch.Tensor) if kind is not torch.Tensor else tensor.detach())
    if parts is None:
        return NotImplemented
    grad = tensor.grad if tensor.is_leaf else None
    arguments = (kind, *parts), tensor.requires_grad, grad
    return kind_from, arguments, dict(tensor.__dict__), None, None, set_attributes


def has_own_storage(kind: type) -> bool:
    """Whether tensors of a class have a storage of torch's, and are not wrappers that only their class can create."""
    torch = sys.modules["torch"]
    reduces = (torch.Tensor.__reduce_ex__, torch.nn.Parameter.__reduce_ex__)
    plain = kind.__dict__.get("__torch_dispatch__", kind.__torch_dispatch__) is torch.Tensor.__torch_dispatch__  # type: ignore[attr-defined]
    return plain and kind.__reduce_ex__ in reduces


def _parts(tensor: Any) -> tuple[Any, ...] | None:
    """Return the key in `_MAKERS` and the arguments; None: no maker handles the tensor."""
    torch = sys.modules["torch"]
    size = tuple(tensor.size())
    if tensor.layout is torch.sparse_coo:
        indices, values = tensor._indices(), tensor._values()  # noqa: SLF001 - `indices()` refuses repeated ones
        return "coo", indices, values, size, tensor.is_coalesced()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return "compressed", tensor.layout, tensor.crow_indices(), tensor.col_indices(), tensor.values(), size
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return "compressed", tensor.layout, tensor.ccol_indices(), tensor.row_indices(), tensor.values(), size
    if tensor.layout is not torch.strided:
        return None
    if tensor.is_quantized:
        return _quantized_parts(tensor)
    if tensor.is_conj():
        return "conjugated", tensor.conj()
    if tensor.is_neg():
        return "negated", torch._neg_view(tensor)  # noqa: SLF001 - torch has no public name
    return "plain", tensor


def _quantized_parts(tensor: Any) -> tuple[Any, ...] | None:
    torch = sys.modules["torch"]
    if tensor.dtype not in (torch.qint8, torch.quint8, torch.qint32):
        return None
    if tensor.qscheme() == torch.per_tensor_affine:
        return "quantized", tensor.int_repr(), tensor.q_scale(), tensor.q_zero_point()
    if tensor.qscheme() == torch.per_channel_affine:
        scales, zeros = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
        return "quantized by channel", tensor.int_repr(), scales, zeros, tensor.q_per_channel_axis()
    return None


def kind_from(parts: tuple[Any, ...], requires_grad: bool, grad: Any) -> Any:  # noqa: FBT001 - a pickle passes arguments by position
    """Return a tensor from its parts."""
    import torch

    kind, name, *arguments = parts
    with warnings.catch_warnings():  # torch warns once that sparse tensors are in beta state
        warnings.simplefilter("ignore")
        tensor = _MAKERS[name](torch, *arguments)
    if kind is not torch.Tensor:
        tensor = torch.Tensor._make_subclass(kind, tensor, requires_grad)  # noqa: SLF001 - `Parameter` calls the same function
    elif requires_grad:
        tensor.requires_grad_()
    if grad is not None:
        tensor.grad = grad
    return tensor


def set_attributes(tensor: Any, attributes: dict[str, Any]) -> None:
    """Set the user's attributes of a tensor."""
    tensor.__dict__.update(attributes)


def _coo(torch: Any, indices: Any, values: Any, size: Any, coalesced: Any) -> Any:
    tensor = torch.sparse_coo_tensor(indices, values, size, check_invariants=False)
    return tensor._coalesced_(coalesced)


def _compressed(torch: Any, layout: Any, *parts: Any) -> Any:
    *indices_and_values, size = parts
    return torch.sparse_compressed_tensor(*indices_and_values, size, layout=layout, check_invariants=False)


_MAKERS: dict[str, Callable[..., Any]] = {
    "coo": _coo,
    "compressed": _compressed,
    "quantized": lambda torch, *parts: torch._make_per_tensor_quantized_tensor(*parts),  # noqa: SLF001 - as torch's own
    "quantized by channel": lambda torch, *parts: torch._make_per_channel_quantized_tensor(*parts),  # noqa: SLF001
    "conjugated": lambda _, tensor: tensor.conj(),
    "negated": lambda torch, tensor: torch._neg_view(tensor),  # noqa: SLF001 - torch has no public name
    "plain": lambda _, tensor: tensor,
}
"""Functions that create a tensor from its parts, by the first item of `_parts`."""
