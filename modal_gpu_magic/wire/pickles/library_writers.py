"""Write new content into objects of numpy and torch: arrays, tensors, storages, generators, optimizers, loaders."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from modal_gpu_magic.wire.pickles.types import data_loaders, optimizers
from modal_gpu_magic.wire.pickles.types.array_kinds import (
    has_own_way,
    is_array_kind,
    is_plain_array,
    plain,
    set_state,
    state_of,
)
from modal_gpu_magic.wire.pickles.types.data_loaders import is_loader
from modal_gpu_magic.wire.pickles.types.instances import slots_in
from modal_gpu_magic.wire.pickles.types.optimizers import is_optimizer
from modal_gpu_magic.wire.pickles.types.tensors import hooks_of, is_plain, set_attributes
from modal_gpu_magic.wire.values.attributes import attributes_of
from modal_gpu_magic.wire.values.kinds import module_of
from modal_gpu_magic.wire.values.torch_facts import is_storage, past_class, storage_id

Writer = Callable[[Any, Any], bool]


def write_array(old: Any, new: Any) -> bool:
    """Write an array's items and its flag `writeable` into another array of the same shape and dtype.

    Returns:
        False: nothing was written.
    """
    its = plain(new)
    if plain(old).shape != its.shape or plain(old).dtype != its.dtype:
        return False
    if not _make_writeable(old):
        return not its.dtype.hasobject and bool(plain(old).tobytes() == its.tobytes())
    plain(old)[...] = its
    if not new.flags.writeable:
        old.flags.writeable = False
    return True


def _make_writeable(array: Any) -> bool:
    """Make an array writeable, and return whether it is.

    Numpy refuses to set the flag where the memory belongs to a tensor, also if the flag is set already.
    """
    if not array.flags.writeable:
        try:
            array.flags.writeable = True
        except ValueError:  # a view of memory that is read-only
            return False
    return True


def can_take(old: Any, new: Any) -> bool:
    """Whether a tensor can be written into another one: both are plain leaf tensors of one class."""
    return type(old) is type(new) and is_plain(new) and is_plain(old) and _are_leaves(old, new)


@past_class
def _are_leaves(old: Any, new: Any) -> bool:
    return bool(old.is_leaf and new.is_leaf and not old.is_inference())


@past_class
def absorb_tensor(old: Any, new: Any, *, shares: bool) -> bool:
    """Write a tensor into another one.

    Args:
        old: the tensor to change.
        new: the tensor that has the content.
        shares: make `old` use the storage of `new`, which other objects share. False: `old` keeps its storage if the
            content fits.
    """
    if storage_id(old) != storage_id(new) or not _lie_alike(old, new):
        expanded = old.numel() > 1 and 0 in old.stride()  # several elements share one address
        alike = old.shape == new.shape and old.dtype == new.dtype and not expanded
        with sys.modules["torch"].no_grad():
            if alike and (not shares or old.device != new.device):
                old.copy_(new)
            else:
                old.data = new.detach()
    old.requires_grad_(new.requires_grad)
    old.grad = new.grad
    set_attributes(old, (dict(attributes_of(new) or {}), slots_in(new), *hooks_of(new)))
    return True


def _lie_alike(old: Any, new: Any) -> bool:
    return bool(
        old.storage_offset() == new.storage_offset()
        and old.shape == new.shape
        and old.stride() == new.stride()
        and old.dtype == new.dtype
    )


def _storage(old: Any, new: Any) -> bool:
    if old.nbytes() != new.nbytes():
        if not old.resizable():
            return False
        old.resize_(new.nbytes())
    old.copy_(new)
    return True


def _generator(old: Any, new: Any) -> bool:
    if type(old.bit_generator) is not type(new.bit_generator):
        return False
    old.bit_generator.state = new.bit_generator.state
    return True


def _bit_generator(old: Any, new: Any) -> bool:
    old.state = new.state
    return True


def _random_state(old: Any, new: Any) -> bool:
    old.set_state(new.get_state(legacy=False))
    return True


def _torch_generator(old: Any, new: Any) -> bool:
    if old.device != new.device:
        return False
    old.set_state(new.get_state())
    return True


def _array(old: Any, new: Any) -> bool:
    """Write the items and the attributes of an array of any class."""
    if not write_array(old, new):
        return False
    if not is_plain_array(old):
        set_state(old, state_of(new), adds=has_own_way(type(old)))
    return True


def _by_state(old: Any, new: Any) -> bool:
    """Give an object the state that the pickle of another one has."""
    _, _, state, *_ = new.__reduce__()
    old.__setstate__(state)
    return True


_RANDOM_NUMBERS: dict[str, Writer] = {
    "Generator": _generator,
    "RandomState": _random_state,
    **dict.fromkeys(("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"), _bit_generator),
}
"""Functions that write into numpy's generators, by type name."""


def writer_of(value: Any) -> Writer | None:
    """Return the function that writes into an object of a library; None: this module has none."""
    kind = type(value)
    if is_array_kind(kind):
        return _array
    if module_of(kind).startswith("pandas.") and any(base.__name__ == "NDArrayBacked" for base in kind.__mro__):
        return _by_state  # its state is in C
    if is_optimizer(kind):
        return optimizers.write
    if is_loader(kind):
        return data_loaders.write
    if is_storage(value):
        return _storage
    if module_of(kind).startswith("numpy.random"):
        return _RANDOM_NUMBERS.get(kind.__name__)
    if module_of(kind).startswith("torch") and kind.__name__ == "Generator":
        return _torch_generator
    return None
