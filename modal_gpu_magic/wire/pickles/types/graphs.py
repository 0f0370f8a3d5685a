"""Pickle tensors that an autograd graph has computed. The graph consists of C++ objects of one process and is not sent.

Returned from the container, such a tensor has its elements and is still no leaf; its `backward()` raises. Sending one
to the container is refused before the cell runs, because the graph's leaves would get no gradients.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from modal_gpu_magic.errors import RemoteValueError
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.reasons import RefusedError


def has_graph(tensor: Any) -> bool:
    """Whether a tensor is the result of an autograd graph."""
    return bool(tensor.requires_grad and not tensor.is_leaf)


def has_remote_graph(value: Any) -> bool:
    """Whether a value is a tensor whose graph is in the container; such a tensor is sent back by token only."""
    torch = sys.modules.get("torch")
    if torch is None or not is_a(value, torch.Tensor) or value.is_leaf:
        return False
    return hasattr(value.grad_fn, REMOTE_GRAPH)


REMOTE_GRAPH = "modal_gpu_remote"
"""Attribute that marks a node as the stand-in for a graph in the container."""


def reduce_result(pickler: Any, tensor: Any) -> Any:
    """Return the reduction of a graph's result.

    Raises:
        RefusedError: the pickler does not send results of graphs (`sends_graphs`).
    """
    node = tensor.grad_fn.name()
    named = pickler.is_fingerprint and has_remote_graph(tensor) and pickler.both_have(tensor)
    stays = pickler.sends_graphs or named
    if not stays and id(tensor) not in pickler.computed:
        raise RefusedError(
            tensor,
            f"the result of an autograd graph ({node}), and a graph cannot be sent",
            "compute it in the cell, or send its elements with .detach()",
        )
    retains = tensor.retains_grad
    arguments = tensor.detach(), node, retains, tensor.grad if retains else None
    return result_from, arguments, dict(tensor.__dict__), None, None, set_attributes


def result_from(numbers: Any, node: str, retains: bool, grad: Any) -> Any:  # noqa: FBT001 - as a pickle passes them
    """Return a tensor over the storage of `numbers`, with a stand-in named `node` for the graph in the container."""
    import torch

    with torch.enable_grad():
        tensor = _remote_graph(node).apply(torch.empty(0, requires_grad=True), numbers)
    if retains:
        tensor.retain_grad()
        tensor.grad = grad
    return tensor


def set_attributes(tensor: Any, attributes: dict[str, Any]) -> None:
    """Set the user's attributes of a tensor."""
    tensor.__dict__.update(attributes)


@functools.cache
def _remote_graph(node: str) -> Any:
    import torch

    class RemoteGraph(torch.autograd.Function):  # type: ignore[misc]  # mypy does not follow torch, see pyproject.toml
        """Stands in for the graph that has computed a tensor in the container."""

        @staticmethod
        def forward(node: Any, _: Any, numbers: Any) -> Any:
            setattr(node, REMOTE_GRAPH, True)
            return numbers.view_as(numbers)

        @staticmethod
        def backward(_: Any, *__: Any) -> Any:
            raise RemoteValueError(
                "call backward() in a %%modal_gpu cell: the graph that computed this tensor is in the container"
            )

    RemoteGraph._backward_cls.__name__ = node  # noqa: SLF001 - the name that the tensor's repr shows
    return RemoteGraph
