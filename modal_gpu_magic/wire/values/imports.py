"""What an import statement binds, without its value: found out in the container, imported in the notebook when used.

A cell that ran in the container imported its modules there. The notebook's kernel gets a `DeferredImport` under each
such name, and imports the module at the name's first use here. Sent to a container, a `DeferredImport` becomes what it
stands for.
"""

from __future__ import annotations

import contextlib
import copyreg
import importlib
import inspect
import operator
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_BY_NAME = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.ModuleType,
)
"""Kinds of values that are code: the same in each process that has the module. Data comes home as a value."""

_ANSWERED = frozenset({"__version__", "__file__", "__name__", "__path__", "__all__", "__spec__", "__loader__"})
"""Attributes between double underscores that a user asks a module for. Others ask which protocols a value has."""

_DISPLAY = ("_repr_", "_ipython_")
"""Beginnings of the attributes that IPython asks any value for."""


@dataclass(frozen=True, slots=True)
class Import:
    """One name's import statement.

    Attributes:
        module: the module imported, or imported from.
        attribute: what is taken from it: an attribute or a submodule; None: the module itself.
        also: submodules that the statement loads beside: `import xml.dom` binds `xml`, and loads `xml.dom`.
    """

    module: str
    attribute: str | None = None
    also: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules it loads for certain."""
        return (self.module, *self.also)

    @property
    def path(self) -> str:
        """The dotted path of what it binds."""
        return ".".join(filter(None, (self.module, self.attribute)))

    def run(self) -> Any:
        """Import it; returns what the statement binds.

        Raises:
            ImportError: as the statement raises it. A module may raise anything else while it is imported.
        """
        for name in self.modules:
            importlib.import_module(name)
        return self._value()

    def loaded(self) -> tuple[Any, ...]:
        """What it binds, as a tuple of one, if nothing must be imported for that; else empty."""
        if not all(name in sys.modules for name in self.modules):
            return ()
        if self.attribute is None:
            return (sys.modules[self.module],)
        attributes = vars(sys.modules[self.module])  # `getattr` could make a module import a part of itself
        if self.attribute in attributes:
            return (attributes[self.attribute],)
        submodule = f"{self.module}.{self.attribute}"
        return (sys.modules[submodule],) if submodule in sys.modules else ()

    def has_bound(self, value: Any) -> bool:
        """Whether a value is what the statement binds. For a process that has run it: nothing is imported."""
        if not all(name in sys.modules for name in self.modules):
            return False
        if any(each is value for each in self.loaded()):
            return True
        return self.attribute is not None and getattr(sys.modules[self.module], self.attribute, None) is value

    def _value(self) -> Any:
        module = sys.modules[self.module]
        if self.attribute is None:
            return module
        submodule, where = f"{self.module}.{self.attribute}", getattr(module, "__file__", None)
        if not hasattr(module, self.attribute) and hasattr(module, "__path__"):
            try:
                return importlib.import_module(submodule)
            except ModuleNotFoundError as error:
                if error.name != submodule:
                    raise
        try:
            return getattr(module, self.attribute)
        except AttributeError:
            message = f"cannot import name {self.attribute!r} from {self.module!r} ({where or 'unknown location'})"
            raise ImportError(message, name=self.module, path=where) from None


def bound_by_import(
    names: Iterable[str],
    namespace: Mapping[str, Any],
    statements: Mapping[str, tuple[Import, ...]],
    stars: Iterable[str] = (),
) -> dict[str, Import]:
    """Which of the names hold what an import statement of the cell bound: code of a module, and no data.

    Nothing is imported: the cell has run here.

    Args:
        names: those the cell bound.
        namespace: the notebook's.
        statements: by name, the import statements that may have bound it (`plan.cell.module_imports.imported_names`).
        stars: the modules star-imported.
    """
    found: dict[str, Import] = {}
    for name in names:
        value = namespace[name]
        candidates = (*statements.get(name, ()), *(Import(module, name) for module in stars))
        if isinstance(value, types.ModuleType):
            candidates += (Import(value.__name__),)
        elif not candidates or not _is_code(value):
            continue
        match = next((each for each in candidates if each.has_bound(value)), None)
        if match is not None:
            found[name] = match
    return found


def _is_code(value: Any) -> bool:
    """Whether a value is code, or pickles as its name alone, as numpy's ufuncs and cached functions do."""
    if isinstance(value, _BY_NAME):
        return True
    kind: Any = type(value)
    reducer = copyreg.dispatch_table.get(kind)
    if reducer is None and kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is not object.__reduce__:
        reducer = kind.__reduce__
    try:
        return reducer is not None and isinstance(reducer(value), str)
    except Exception:  # noqa: BLE001 - whatever a class raises about being pickled: then it is no code
        return False


class DeferredImport:
    """Stands for what a cell in the container imported, until it is used here.

    Any use of it imports the module, binds the name to what it stands for, and goes on with that. Looking whether it
    has some protocol (`__array__`, `_repr_html_`) is no use.

    Args:
        name: the name it is bound to.
        statement: the import statement that bound it.
        home: the notebook's namespace.
    """

    __slots__ = ("__weakref__", "_deferred")

    def __init__(self, name: str, statement: Import, home: dict[str, Any]) -> None:
        object.__setattr__(self, "_deferred", _Deferred(name, statement, home))

    def __repr__(self) -> str:
        return f"<{deferral(self).statement.path}, imported in the container, and here when it is used>"

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("__") and name not in _ANSWERED) or name.startswith(_DISPLAY):
            raise AttributeError(name)
        return getattr(resolve(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(resolve(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(resolve(self), name)

    def __dir__(self) -> Iterable[str]:
        return dir(resolve(self))

    @property
    def __doc__(self) -> Any:  # type: ignore[override]  # a class has its own as a text
        return resolve(self).__doc__

    @property
    def __signature__(self) -> Any:
        """What IPython shows beside the name of a function."""
        return inspect.signature(resolve(self))

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, resolve(self))

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, resolve(self))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (resolve(self),)

    def __reduce__(self) -> tuple[Any, ...]:
        its = deferral(self).statement
        return _import_there, (its.module, its.attribute, its.also)


@dataclass(slots=True)
class _Deferred:
    """What a `DeferredImport` knows. `stopped`: the user stopped its import, so the cell that uses it stops, too."""

    name: str
    statement: Import
    home: dict[str, Any]
    stopped: bool = False


def deferral(value: DeferredImport) -> _Deferred:
    """The name and the import statement behind a stand-in. Not attributes: those are the module's own."""
    its: _Deferred = object.__getattribute__(value, "_deferred")
    return its


def resolve(value: DeferredImport) -> Any:
    """Import what a stand-in stands for, and bind its name to that.

    Raises:
        ModuleNotFoundError: this kernel has no such module; says where the module is.
        KeyboardInterrupt: the user stopped this import before the cell that uses it began.
        Exception: whatever the module raises while it is imported.
    """
    its = deferral(value)
    if its.stopped:
        its.stopped = False
        raise KeyboardInterrupt
    try:
        found = its.statement.run()
        for module in _of_other_statements(its):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{its.statement.module}.".startswith(f"{error.name}."):
            raise  # a module that this one imports
        raise ModuleNotFoundError(f"{error.msg}. {_where(its)}", name=error.name, path=error.path) from None
    if its.home.get(its.name) is value:
        its.home[its.name] = found
    return found


def _of_other_statements(its: _Deferred) -> Iterator[str]:
    """Submodules of a module that other deferred statements load: after `from a.b import c`, `a` has `b`."""
    if its.statement.attribute is not None:
        return
    head = its.statement.module + "."
    for other in [*its.home.values()]:
        if type(other) is DeferredImport:
            yield from (module for module in deferral(other).statement.modules if module.startswith(head))


def _where(its: _Deferred) -> str:
    """Where the module is, and the ways out."""
    return (
        f"A cell imported `{its.name}` in the container, and this kernel lacks the package: "
        f"use `{its.name}` in a %%modal_gpu cell, or install the package here, too"
    )


def _import_there(module: str, attribute: str | None, also: tuple[str, ...]) -> Any:
    """What a stand-in is where it arrives."""
    return Import(module, attribute, also).run()


_OPERATORS: dict[str, Callable[..., Any]] = {
    "call": lambda real, *arguments, **keywords: real(*arguments, **keywords),
    "getitem": operator.getitem,
    "or": operator.or_,
    "ror": lambda real, other: other | real,
    "iter": iter,
}
"""What is done to modules, classes and functions, other than to ask for an attribute."""


def _forward(operation: Callable[..., Any]) -> Callable[..., Any]:
    def use(value: DeferredImport, *arguments: Any, **keywords: Any) -> Any:
        return operation(resolve(value), *arguments, **keywords)

    return use


for _name, _operation in _OPERATORS.items():
    setattr(DeferredImport, f"__{_name}__", _forward(_operation))
