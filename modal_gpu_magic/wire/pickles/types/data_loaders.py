"""Pickle torch's data loaders without their worker processes, which each side has for itself.

With `persistent_workers=True`, a loader keeps its iterator, and the worker processes with it, after the first loop
(torch 2.13, `DataLoader.__iter__`). The other side starts workers of its own at its first loop.
"""

from __future__ import annotations

import sys
from typing import Any

from modal_gpu_magic.wire.values.attributes import tells_all

_OF_EACH_SIDE = "_iterator"
"""The attribute with the iterator of persistent workers."""


def is_loader(kind: type) -> bool:
    """Whether a class is one of torch's data loaders, with a pickle of no own making."""
    data = sys.modules.get("torch.utils.data.dataloader")
    return data is not None and issubclass(kind, data.DataLoader) and tells_all(kind)


def reduce_loader(_: Any, loader: Any) -> tuple[Any, ...]:
    """Return the reduction of a loader: all attributes but the iterator."""
    return new_loader, (type(loader),), _own(loader), None, None, set_attributes


def new_loader(kind: Any) -> Any:
    """Return a loader without attributes."""
    return kind.__new__(kind)


def set_attributes(loader: Any, attributes: dict[str, Any]) -> None:
    """Set the attributes of a loader, which refuses some of them by `setattr`; its iterator stays."""
    own = vars(loader)
    for name in own.keys() - attributes.keys() - {_OF_EACH_SIDE}:
        del own[name]
    own.update(attributes)
    own.setdefault(_OF_EACH_SIDE, None)


def write(old: Any, new: Any) -> bool:
    """Write the attributes of a loader into another one, which keeps its iterator."""
    set_attributes(old, _own(new))
    return True


def _own(loader: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(loader).items() if name != _OF_EACH_SIDE}
