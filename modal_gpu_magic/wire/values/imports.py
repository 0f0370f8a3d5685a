"""Deferred imports: names that an import statement bound in the container are imported in the kernel on first use.

A cell in the container imports its modules in the container. The kernel gets a `DeferredImport` for each such name and
imports the module when the name is first used in a native cell. Sent to a container, a `DeferredImport` becomes the
imported object.
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

from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on

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
"""Types of values that are code: equal in each process that has the module. Data is returned as a value."""

_ANSWERED = frozenset({"__version__", "__file__", "__name__", "__path__", "__all__", "__spec__", "__loader__"})
"""Dunder attributes that users read from a module. Other dunder attributes are protocol checks."""

_DISPLAY = ("_repr_", "_ipython_")
"""Prefixes of the attributes that IPython reads from any value."""


@dataclass(frozen=True, slots=True)
class Import:
    """The import statement of one name.

    Attributes:
        module: the module imported, or imported from.
        attribute: the imported attribute or submodule; None: the module itself.
        also: submodules that the statement also loads: `import xml.dom` binds `xml` and loads `xml.dom`.
    """

    module: str
    attribute: str | None = None
    also: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that the statement always loads."""
        return (self.module, *self.also)

    @property
    def path(self) -> str:
        """The dotted path of the bound object."""
        return ".".join(filter(None, (self.module, self.attribute)))

    def run(self) -> Any:
        """Run the import and return the bound object.

        Raises:
            ImportError: the statement raises the same error.
            Exception: any exception that a module raises while it is imported.
        """
        for name in self.modules:
            importlib.import_module(name)
        return self._value()

    def loaded(self) -> tuple[Any, ...]:
        """Return the bound object as a tuple of one item; empty: a module would have to be imported."""
        if not all(name in sys.modules for name in self.modules):
            return ()
        if self.attribute is None:
            return (sys.modules[self.module],)
        attributes = vars(sys.modules[self.module])  # `getattr` could make a module import a submodule
        if self.attribute in attributes:
            return (attributes[self.attribute],)
        submodule = f"{self.module}.{self.attribute}"
        return (sys.modules[submodule],) if submodule in sys.modules else ()

    def has_bound(self, value: Any) -> bool:
        """Whether a value is the object that the statement bound. Imports nothing."""
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
    """Return the names whose value is code that an import statement of the cell bound.

    Imports nothing: the cell has run in this process.

    Args:
        names: names that the cell bound.
        namespace: the notebook's namespace.
        statements: by name, the import statements that may have bound it (`plan.cell.import_statements`).
        stars: the star-imported modules.
    """
    found: dict[str, Import] = {}
    for name in names:
        value = namespace[name]
        candidates = (*statements.get(name, ()), *(Import(module, name) for module in stars))
        if is_a(value, types.ModuleType):
            candidates += (Import(value.__name__),)
        elif not candidates or not _is_code(value):
            continue
        match = next((each for each in candidates if each.has_bound(value)), None)
        if match is not None:
            found[name] = match
    return found


def _is_code(value: Any) -> bool:
    """Whether a value is code, or is pickled by name, as numpy's ufuncs and cached functions are."""
    if is_a(value, _BY_NAME):
        return True
    kind: Any = type(value)
    try:
        reducer = copyreg.dispatch_table.get(kind)
        if reducer is None and kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is not object.__reduce__:
            reducer = kind.__reduce__
        return reducer is not None and is_a(reducer(value), str)
    except BaseException as error:  # noqa: BLE001 - a class may raise anything while it is pickled; such a value is no code
        pass_on(error)
        return False


class DeferredImport:
    """Stands in for an object that a cell in the container imported, until a native cell uses the name.

    Any use imports the module, binds the name to the imported object, and uses that object. A check for a protocol
    (`__array__`, `_repr_html_`) does not count as a use.

    Args:
        name: the name that the stand-in is bound to.
        statement: the import statement that bound the name.
        namespace: the notebook's namespace.
    """

    __slots__ = ("__weakref__", "_deferred")

    def __init__(self, name: str, statement: Import, namespace: dict[str, Any]) -> None:
        object.__setattr__(self, "_deferred", _Deferred(name, statement, namespace))

    def __repr__(self) -> str:
        return f"<{deferral(self).statement.path}, imported in the container; the notebook imports it on first use>"

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
    def __doc__(self) -> Any:  # type: ignore[override]  # a class's own `__doc__` is a string
        return resolve(self).__doc__

    @property
    def __signature__(self) -> Any:
        """The signature that IPython shows for a function."""
        return inspect.signature(resolve(self))

    def __instancecheck__(self, value: Any) -> bool:
        return is_a(value, resolve(self))

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, resolve(self))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (resolve(self),)

    def __reduce__(self) -> tuple[Any, ...]:
        its = deferral(self).statement
        return _import_object, (its.module, its.attribute, its.also)


@dataclass(slots=True)
class _Deferred:
    """The state of a `DeferredImport`.

    Attributes:
        name: the name that the stand-in is bound to.
        statement: the import statement that bound the name.
        namespace: the notebook's namespace.
        stopped: the user stopped the import, so that the cell that uses the name must stop as well.
    """

    name: str
    statement: Import
    namespace: dict[str, Any]
    stopped: bool = False


def deferral(value: DeferredImport) -> _Deferred:
    """Return the state of a stand-in. A function, because attributes of a stand-in are those of the module."""
    its: _Deferred = object.__getattribute__(value, "_deferred")
    return its


def resolve(value: DeferredImport) -> Any:
    """Import the object of a stand-in, and bind the stand-in's name to the object.

    Raises:
        ModuleNotFoundError: this kernel has no such module; the message says that the container has the module.
        KeyboardInterrupt: the user stopped this import before the cell that uses the name started.
        Exception: any exception that the module raises while it is imported.
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
            raise  # the missing module is another one, which the module imports
        raise ModuleNotFoundError(f"{error.msg}. {_advice(its)}", name=error.name, path=error.path) from None
    if its.namespace.get(its.name) is value:
        its.namespace[its.name] = found
    return found


def _of_other_statements(its: _Deferred) -> Iterator[str]:
    """Yield submodules that other deferred imports load: after `from a.b import c`, `a` has the attribute `b`."""
    if its.statement.attribute is not None:
        return
    head = its.statement.module + "."
    for other in [*its.namespace.values()]:
        if type(other) is DeferredImport:
            yield from (module for module in deferral(other).statement.modules if module.startswith(head))


def _advice(its: _Deferred) -> str:
    """Return the sentence that says which process has the module, and the two fixes."""
    return (
        f"A cell imported `{its.name}` in the container, and this kernel lacks the package: "
        f"use `{its.name}` in a %%modal_gpu cell, or install the package in the notebook's environment"
    )


def _import_object(module: str, attribute: str | None, also: tuple[str, ...]) -> Any:
    """Import the object of a received stand-in."""
    return Import(module, attribute, also).run()


_OPERATORS: dict[str, Callable[..., Any]] = {
    "call": lambda real, *arguments, **keywords: real(*arguments, **keywords),
    "getitem": operator.getitem,
    "or": operator.or_,
    "ror": lambda real, other: other | real,
    "iter": iter,
}
"""Operations on modules, classes and functions other than attribute access, by special method name."""


def _forward(operation: Callable[..., Any]) -> Callable[..., Any]:
    def use(value: DeferredImport, *arguments: Any, **keywords: Any) -> Any:
        return operation(resolve(value), *arguments, **keywords)

    return use


for _name, _operation in _OPERATORS.items():
    setattr(DeferredImport, f"__{_name}__", _forward(_operation))
