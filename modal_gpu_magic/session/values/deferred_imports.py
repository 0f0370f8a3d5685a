"""What remote cells imported is imported here when a native cell uses the name, and not before.

A remote cell's import statement costs the container its time once. The notebook's name gets a stand-in
(`wire.values.imports.DeferredImport`). Before a native cell runs, the stand-ins that it reads are replaced by what they
stand for. Uses that the cell's text does not show (a callback, `exec`) find the stand-in, which then imports.
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
    """Bind the names that a remote cell bound by import statements, without importing anything.

    Args:
        imports: by name, the statement; the container says which (`wire.values.imports.bound_by_import`).
        namespace: the notebook's.
    """
    for name, statement in imports.items():
        loaded, before = statement.loaded(), namespace.get(name)
        if loaded:
            namespace[name] = loaded[0]
        elif type(before) is not DeferredImport or deferral(before).statement != statement:
            namespace[name] = DeferredImport(name, statement, namespace)


def deferred(namespace: Mapping[str, Any]) -> frozenset[str]:
    """The names that have a stand-in."""
    return frozenset(name for name, value in [*namespace.items()] if type(value) is DeferredImport)


def import_for(source: str, namespace: dict[str, Any], transform: Transform | None = None) -> None:
    """Import what a native cell is about to use: the names that it reads, and those that functions it calls read.

    What cannot be imported keeps its stand-in, which raises the reason where the cell uses the name.

    Args:
        source: the cell as typed.
        namespace: the notebook's.
        transform: how the cell becomes Python.
    """
    waiting = deferred(namespace)
    if waiting:
        names = analyse(source, transform, texts_of(namespace))
        read = names.reads - names.deletes  # `del x` counts as reading `x`
        resolve_all(sorted(waiting & reach(read, namespace)), namespace)


def resolve_all(names: Iterable[str], namespace: Mapping[str, Any]) -> None:
    """Replace stand-ins by what they stand for. After a stop the cell that uses one of them stops, too."""
    stand_ins = [value for name in names if type(value := namespace.get(name)) is DeferredImport]
    stopped = any(_is_stopped(value) for value in stand_ins)
    for value in stand_ins:
        deferral(value).stopped = stopped


def _is_stopped(value: DeferredImport) -> bool:
    """Import what a stand-in stands for; whether the user stopped that."""
    try:
        resolve(value)
    except KeyboardInterrupt:
        return True
    except (Exception, SystemExit):  # noqa: BLE001 - whatever a module raises while it is imported; its use raises it
        return False
    return False
