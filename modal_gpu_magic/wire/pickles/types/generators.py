"""Pickle global random generators by name, because a copy would draw the same numbers again.

`from random import random` binds a method of the module's hidden generator; `from numpy.random import rand` does the
same, and `torch.default_generator` is such a generator. `wire.process.generators` sends the generators' states.
"""

from __future__ import annotations

import importlib
import random
import sys
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.process.originals import reduce_original

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GLOBAL = random._inst  # noqa: SLF001 - the generator behind the module's functions in every Python 3


def generator_reducers() -> dict[type, Callable[[Any, Any], Any]]:
    """Return reducers for the types of generators and their methods. Types of a library need an imported library."""
    kinds = {random.Random, types.MethodType, types.BuiltinMethodType}
    kinds |= {type(generator) for generator, _, _ in _generators()}
    return dict.fromkeys(kinds, lambda _, value: reduce_global_generator(value))


def reduce_global_generator(value: Any) -> Any:
    """Return the reduction by name of a global generator or its method, or of a built-in function that a cell replaced.

    NotImplemented for every other value.
    """
    owner = getattr(value, "__self__", None) if type(value) in (types.MethodType, types.BuiltinMethodType) else value
    if owner is None or type(owner) is types.ModuleType:
        return reduce_original(value)
    for generator, module, path in _generators():
        if owner is generator:
            return global_generator, (module, (*path, *(() if owner is value else (value.__name__,))))
    return NotImplemented


def global_generator(module: str, path: tuple[str | int, ...]) -> Any:
    """Return a module's global generator, or a method of the generator."""
    found: Any = importlib.import_module(module)
    for part in path:
        found = found[part] if isinstance(part, int) else getattr(found, part)
    return found


def _generators() -> Iterator[tuple[Any, str, tuple[str | int, ...]]]:
    """Yield the global generators of imported libraries, each with its module and the attribute path."""
    yield _GLOBAL, "random", ("_inst",)
    numpy = sys.modules.get("numpy.random.mtrand")
    if hasattr(numpy, "_rand"):
        yield numpy._rand, "numpy.random.mtrand", ("_rand",)  # type: ignore[union-attr]  # noqa: SLF001 - scikit-learn uses it
    torch = sys.modules.get("torch")
    if hasattr(torch, "default_generator"):
        yield torch.default_generator, "torch", ("default_generator",)  # type: ignore[union-attr]
        for number, generator in enumerate(getattr(torch.cuda, "default_generators", ())):  # type: ignore[union-attr]
            yield generator, "torch", ("cuda", "default_generators", number)
