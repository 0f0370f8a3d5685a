"""The submodules that a cell reads through a package: `PIL.Image` after `import PIL.Image`, which binds `PIL` alone."""

from __future__ import annotations

import importlib
import re
import sys
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ATTRIBUTE: Final = re.compile(r"\.\s*([^\W\d]\w*)")


def submodules_read(source: str, names: Iterable[str], namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the loaded submodules that a cell reads through packages, parents first.

    Args:
        source: the cell's text.
        names: the names that the cell reads.
        namespace: the notebook's variables. Functions of the notebook that are read are looked through as well.
    """
    attributes = set(_ATTRIBUTE.findall(source))
    packages: dict[str, None] = {}
    waiting, seen = [name for name in names if name in namespace], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        value = namespace[name]
        if is_a(value, ModuleType) and "__path__" in vars(value):
            packages[value.__name__] = None
        elif type(value) is FunctionType and value.__globals__ is namespace:
            for code in _codes(value.__code__):
                attributes.update(code.co_names)
                waiting += [each for each in code.co_names if each in namespace]
    return tuple(each for package in packages for each in _below(package, attributes))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if type(each) is CodeType:
            yield from _codes(each)


def _below(package: str, attributes: set[str]) -> Iterator[str]:
    for attribute in sorted(attributes):
        name = f"{package}.{attribute}"
        if is_a(sys.modules.get(name), ModuleType):
            yield name
            yield from _below(name, attributes)


def import_submodules(names: Iterable[str]) -> None:
    """Import submodules. One that does not exist here, or whose code fails, is for the code that reads it to notice."""
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001, PERF203 - a module may raise anything while it runs
            pass_on(error)
