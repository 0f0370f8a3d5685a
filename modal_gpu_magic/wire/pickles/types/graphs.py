"""Tensors that an autograd graph has computed. The graph itself is C++ of one process, and never crosses.

From the container such a tensor arrives with its numbers, and still says that it has a graph: it is no leaf, and its
`backward()` raises. Into the container it is refused before the cell runs: the graph's leaves would get no gradients.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from modal_gpu_magic.errors import RemoteValueError
from modal_gpu_magic.wire.values.reasons import RefusedError

_COMPUTED_ANEW = ("WeightNorm",)
"""Nodes whose results a module keeps, and computes anew in each forward pass: `torch.nn.utils.weight_norm`."""


def has_graph(tensor: Any) -> bool:
    """Whether a tensor is a graph's result."""
    return bool(tensor.requires_grad and not tensor.is_leaf)


def is_far(value: Any) -> bool:
    """Whether a value is a tensor whose graph is in the container: who sends it back names the tensor there."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor) or value.is_leaf:
        return False
    return hasattr(value.grad_fn, FAR)


FAR = "modal_gpu_far"
"""Attribute of the nodes that stand for graphs in the container."""


def reduce_result(pickler: Any, tensor: Any) -> Any:
    """The pickle of a graph's result.

    Raises:
        RefusedError: the pickler is not one whose graphs stay behind within reach.
    """
    node = tensor.grad_fn.name()
    stays = pickler.sends_graphs or (pickler.is_fingerprint and is_far(tensor))
    if not stays and not node.startswith(_COMPUTED_ANEW):
        raise RefusedError(
            tensor,
            f"the result of an autograd graph ({node}), which lives in this process",
            "compute it in the cell, or send its numbers with .detach()",
        )
    retains = tensor.retains_grad
    arguments = tensor.detach(), node, retains, tensor.grad if retains else None
    return result_from, arguments, dict(tensor.__dict__), None, None, set_attributes


def result_from(numbers: Any, node: str, retains: bool, grad: Any) -> Any:  # noqa: FBT001 - as a pickle passes them
    """A tensor over the same storage as `numbers` whose graph, with `node` as its last, is in another process."""
    import torch

    with torch.enable_grad():
        tensor = _far_graph(node).apply(torch.empty(0, requires_grad=True), numbers)
    if retains:
        tensor.retain_grad()
        tensor.grad = grad
    return tensor


def set_attributes(tensor: Any, attributes: dict[str, Any]) -> None:
    """What somebody has set on the tensor."""
    tensor.__dict__.update(attributes)


@functools.cache
def _far_graph(node: str) -> Any:
    import torch

    class FarGraph(torch.autograd.Function):  # type: ignore[misc]  # mypy does not follow torch, see pyproject.toml
        """Stands for the graph that has computed a tensor in the container."""

        @staticmethod
        def forward(node: Any, _: Any, numbers: Any) -> Any:
            setattr(node, FAR, True)
            return numbers.view_as(numbers)

        @staticmethod
        def backward(_: Any, *__: Any) -> Any:
            raise RemoteValueError(
                "the graph that computed this tensor is in the container: call backward() in a %%modal_gpu cell"
            )

    FarGraph._backward_cls.__name__ = node  # noqa: SLF001 - what the tensor's repr shows
    return FarGraph
