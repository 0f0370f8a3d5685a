"""The requirements of a cell: distributions of its modules, at the kernel's versions, for the image of the session."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.requirements import is_standard, requirements
from modal_gpu_magic.session.project.directories import origin_of
from modal_gpu_magic.session.project.installed import distributions
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral
from modal_gpu_magic.wire.values.kinds import is_a, module_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modal_gpu_magic.plan.cell.names import Names
    from modal_gpu_magic.session.project.modules import LocalModules


@dataclass(frozen=True, slots=True)
class Needs:
    """The requirements of a cell.

    Attributes:
        packages: the requirements.
        imports: the requirement that provides each module, by module.
    """

    packages: tuple[str, ...] = ()
    imports: dict[str, str] = field(default_factory=dict)


def needs(names: Names, namespace: Mapping[str, object], local: LocalModules, exclude: Iterable[str] = ()) -> Needs:
    """The requirements of a cell's imports, of the imports of the user's own modules, and of the types of its values.

    A module that no installed distribution provides is skipped: if the distribution's name were guessed, anybody who
    registers the name could run code in the user's container.

    Args:
        names: the names that the cell uses.
        namespace: the notebook's variables.
        local: the session's own modules.
        exclude: modules that are not sent (`--no-in`).
    """
    modules = {*names.imports, *modules_of(names, namespace)}
    foreign = [module for module in sorted(local.find(modules, exclude).foreign) if not is_standard(module)]
    installed = distributions() if foreign else {}
    imports = {
        module: str(requirement)
        for module in foreign
        for requirement in requirements((module,), installed, _version, origin_of)
    }
    return Needs(tuple(dict.fromkeys(imports.values())), imports)


def modules_of(names: Names, namespace: Mapping[str, object]) -> Iterator[str]:
    """Yield the top-level modules of the values that the cell reads: the module itself, or the module of the type."""
    for name in names.reads & namespace.keys():
        value = namespace[name]
        if type(value) is DeferredImport:
            module = deferral(value).statement.module
        else:
            module = str(value.__name__) if is_a(value, ModuleType) else module_of(type(value))
        yield module.partition(".")[0]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
