"""Import the modules of remote cells in the kernel when a native cell first uses their names.

A remote cell's import statement runs in the container. In the notebook, the imported name gets a stand-in
(`wire.values.imports.DeferredImport`). Before a native cell runs, the stand-ins that it reads are replaced by the
imported objects. A use that the cell's source does not show (a callback, `exec`) reaches the stand-in, which imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.plan.cell.texts import texts_of
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral, resolve
from modal_gpu_magic.wire.values.referenced_globals import reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.wire.values.imports import Import


def bind(imports: Mapping[str, Import], namespace: dict[str, Any]) -> None:
    """Bind the names that a remote cell imported, without importing anything.

    Args:
        imports: the import statement of each name, reported by the container (`wire.values.imports.bound_by_import`).
        namespace: the notebook's variables.
    """
    for name, statement in imports.items():
        loaded, before = statement.loaded(), namespace.get(name)
        if loaded:
            namespace[name] = loaded[0]
        elif type(before) is not DeferredImport or deferral(before).statement != statement:
            namespace[name] = DeferredImport(name, statement, namespace)


def deferred(namespace: Mapping[str, Any]) -> frozenset[str]:
    """The names that are bound to a stand-in."""
    return frozenset([name for name, value in [*namespace.items()] if type(value) is DeferredImport])


def is_of(value: Any, statement: Import) -> bool:
    """Whether a value is what an import statement binds: its stand-in, or the imported object."""
    if type(value) is DeferredImport:
        return deferral(value).statement == statement
    loaded = statement.loaded()
    return bool(loaded) and loaded[0] is value


def import_for(source: str, namespace: dict[str, Any], transform: Transform | None = None) -> None:
    """Import the deferred names that a native cell reads, directly or through the functions that it calls.

    A name whose import fails keeps its stand-in, which raises the import's error where the cell uses the name.

    Args:
        source: the cell as typed.
        namespace: the notebook's variables.
        transform: converts the cell's source to Python.
    """
    waiting = deferred(namespace)
    if waiting:
        names = analyse(source, transform, texts_of(namespace))
        read = names.reads - names.deletes  # `del x` counts as reading `x`
        resolve_all(sorted(waiting & reach(read, namespace)), namespace)


def resolve_all(names: Iterable[str], namespace: Mapping[str, Any]) -> None:
    """Replace stand-ins by the imported objects. If ■ stops an import, the cell stops where it uses a stand-in."""
    stand_ins = [value for name in names if type(value := namespace.get(name)) is DeferredImport]
    stopped = any(_is_stopped(value) for value in stand_ins)
    for value in stand_ins:
        deferral(value).stopped = stopped


def _is_stopped(value: DeferredImport) -> bool:
    """Resolve a stand-in; return whether the user stopped the import."""
    try:
        resolve(value)
    except KeyboardInterrupt:
        return True
    except (Exception, SystemExit):  # noqa: BLE001 - an import may raise anything; using the name raises it
        return False
    return False
