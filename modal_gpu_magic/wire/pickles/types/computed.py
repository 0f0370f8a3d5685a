"""Pickle the tensors that a module computes anew before each forward pass: pruning, and the older norms of weights.

Such a module has parameters, and a plain attribute that a hook computes from them: the result of an autograd graph,
which is refused elsewhere. Here the numbers suffice, because the next forward pass replaces the tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.values.kinds import module_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.pickles.protocol import Pickler

_HOOKS = {
    ("torch.nn.utils.prune", "BasePruningMethod"): "_tensor_name",
    ("torch.nn.utils.spectral_norm", "SpectralNorm"): "name",
    ("torch.nn.utils.weight_norm", "WeightNorm"): "name",
}
"""Classes of hooks that compute a tensor, each with its attribute for the tensor's name (torch 2.13)."""


def is_module(kind: type) -> bool:
    """Whether a class is one of torch's modules."""
    nn = sys.modules.get("torch.nn.modules.module")
    return nn is not None and issubclass(kind, nn.Module)


@dataclass(frozen=True, slots=True)
class ModuleReducer:
    """Reduces a module, and tells the pickler which tensors are computed.

    Attributes:
        reducer: the reducer of the module's class; None: pickle's own rules apply.
    """

    reducer: Callable[[Any, Any], Any] | None

    def __call__(self, pickler: Pickler, module: Any) -> Any:
        """Return the reduction of a module; NotImplemented: pickle's own rules apply."""
        pickler.computed.update(map(id, computed_by(module)))
        return NotImplemented if self.reducer is None else self.reducer(pickler, module)


def computed_by(module: Any) -> Iterator[Any]:
    """Yield the tensors that hooks of a module compute."""
    attributes = vars(module)
    for hook in list((attributes.get("_forward_pre_hooks") or {}).values()):
        name = next((_HOOKS[key] for base in type(hook).__mro__ if (key := _key_of(base)) in _HOOKS), None)
        if name is not None:
            yield attributes.get(getattr(hook, name))


def _key_of(kind: type) -> tuple[str, str]:
    return module_of(kind), name_of(kind)
