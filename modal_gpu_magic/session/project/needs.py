"""What the image of a session must have for a cell: the distributions of its modules, at the notebook's versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from types import ModuleType
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.requirements import requirements
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modal_gpu_magic.plan.cell.names import Names
    from modal_gpu_magic.session.project.modules import LocalModules


@dataclass(frozen=True, slots=True)
class Needs:
    """Requirements of a cell, and for each module the cell needs the one that brings it."""

    packages: tuple[str, ...] = ()
    imports: dict[str, str] = field(default_factory=dict)


def needs(names: Names, namespace: Mapping[str, object], local: LocalModules, exclude: Iterable[str] = ()) -> Needs:
    """What a cell imports, what the user's own modules that travel with it import, and what the values are made of.

    A module that no distribution of this environment provides is left out: to guess its distribution's name would let
    anybody who registers that name run code in the user's container.

    Args:
        names: the cell's.
        namespace: the notebook's.
        local: the session's.
        exclude: modules to do without, `--no-in`.
    """
    modules = {*names.imports, *modules_of(names, namespace)}
    installed = packages_distributions()
    imports = {
        module: str(requirement)
        for module in sorted(local.find(modules, exclude).foreign)
        for requirement in requirements((module,), installed, _version)
    }
    return Needs(tuple(dict.fromkeys(imports.values())), imports)


def modules_of(names: Names, namespace: Mapping[str, object]) -> Iterator[str]:
    """The top-level modules that the values are, or that their types are from."""
    for name in names.reads & namespace.keys():
        value = namespace[name]
        if type(value) is DeferredImport:
            module = deferral(value).statement.module
        else:
            module = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
        yield module.partition(".")[0]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
