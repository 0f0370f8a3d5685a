"""The states of what cells call through the shell: magics, aliases, extensions, and what changes a cell's code.

A magic whose function is the notebook's crosses with the function; one of a class of the notebook is made anew on the
other side, with the class that crosses as a value; one of an extension comes with its extension.
"""

from __future__ import annotations

import inspect
import re
import sys
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.ipython import (
    NOTEBOOK,
    OF_EVERY_SHELL,
    PRINTERS,
    Remembered,
    is_the_notebooks,
    on_this_side,
    running_shell,
)
from modal_gpu_magic.wire.process.process_state import State
from modal_gpu_magic.wire.values.kinds import is_a
from modal_gpu_magic.wire.values.own_code import pass_on

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from modal_gpu_magic.wire.process.process_state import Items

_MAGIC: Final = re.compile(r"%%?([\w.]+)")
_WORD_ALONE: Final = re.compile(r"^[^\S\n]*(\w+)[^\S\n]*$", re.MULTILINE)
_KINDS: Final = ("line", "cell")
_ALIAS, _METHOD = "alias", "method"
_USUAL: Final = {
    "line ed": (_ALIAS, "edit", "line", None),
    "line hist": (_ALIAS, "history", "line", None),
    "line rep": (_ALIAS, "recall", "line", None),
    "cell SVG": (_ALIAS, "svg", "cell", None),
    "cell HTML": (_ALIAS, "html", "cell", None),
    "cell file": (_ALIAS, "writefile", "cell", None),
}
"""The other names of magics that each shell has (`InteractiveShell.init_magics`), by `KIND NAME`."""


class _MethodMagic:
    """A magic of a class of the notebook. The class is looked up when the magic is called: it comes with the values.

    Args:
        class_name: name of the class, which the notebook binds to it.
        method: name of the method.
    """

    def __init__(self, class_name: str, method: str) -> None:
        self.class_name, self.method = class_name, method

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the method."""
        return self._bound()(*args, **named)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the method: IPython looks whether it needs the variables of the caller."""
        return getattr(self._bound(), name)

    def _bound(self) -> Any:
        shell = running_shell()
        kind, registry = shell.user_ns.get(self.class_name), shell.magics_manager.registry
        if not is_a(kind, type):
            raise AttributeError(f"the magic's class {self.class_name} does not exist")
        instance = registry.get(self.class_name)
        if type(instance) is not kind:
            instance = registry[self.class_name] = kind(shell=shell)
        return getattr(instance, self.method)


def _magic_dicts() -> list[dict[Any, Any]]:
    manager = getattr(running_shell(), "magics_manager", None)
    return [] if manager is None else [manager.magics[kind] for kind in _KINDS]


def _all_magics() -> Items:
    """Read the notebook's magics, by `KIND NAME`: the function, or plain data that describes another one."""
    pairs = zip(_KINDS, _magic_dicts(), strict=False)
    described = {f"{kind} {name}": _described(each) for kind, magics in pairs for name, each in magics.items()}
    return {key: each for key, each in described.items() if each is not None and each != _USUAL.get(key)}


def _described(magic: Any) -> Any:
    """Return what crosses for a magic; None: the other side has the magic, or cannot have it."""
    if is_the_notebooks(magic):
        return magic
    if type(magic) is _MethodMagic:
        return (_METHOD, magic.class_name, magic.method)
    if type(magic) is MethodType and _is_made_by_shell(kind := type(magic.__self__)):
        return (_METHOD, kind.__name__, magic.__func__.__name__)
    if type(magic).__name__ == "MagicAlias" and type(magic).__module__ == "IPython.core.magic":
        return (_ALIAS, magic.magic_name, magic.magic_kind, magic.magic_params)
    return None


def _is_made_by_shell(kind: type) -> bool:
    """Whether a class is the notebook's, and the shell can make an object of it, as `register_magics` does."""
    if kind.__module__ != NOTEBOOK:
        return False
    try:
        inspect.signature(kind).bind(shell=None)
    except (TypeError, ValueError):
        return False
    return True


def _all_aliases() -> Items:
    """Read the commands of aliases (`%alias`) that IPython does not define itself."""
    now = dict(running_shell().alias_manager.aliases) if _magic_dicts() else {}
    usual = dict(sys.modules["IPython.core.alias"].default_aliases()) if now else {}
    return {name: command for name, command in now.items() if usual.get(name) != command}


_MAGICS: Final = Remembered(_magic_dicts, _all_magics)
_ALIASES: Final = Remembered(_magic_dicts, _all_aliases)


def _write_magic(key: str, value: Any) -> None:
    kind, name = key.split(" ", 1)
    shell = running_shell()
    match _USUAL.get(key) if value is None else value:
        case None:
            shell.magics_manager.magics[kind].pop(name, None)
        case (str(what), target, target_kind, params) if what == _ALIAS:
            shell.magics_manager.register_alias(name, target, target_kind, params)
        case (str(what), class_name, method) if what == _METHOD:
            shell.magics_manager.magics[kind][name] = _MethodMagic(class_name, method)
        case _:
            shell.register_magic_function(on_this_side(value), kind, name)


def _write_alias(name: str, value: Any) -> None:
    manager = running_shell().alias_manager
    if manager.is_alias(name):
        manager.undefine_alias(name)
    if value is not None:
        manager.define_alias(name, value)


# What a cell uses by way of these.


def functions_for(source: str) -> list[Any]:
    """Return what of the notebook a cell may call through the shell: magics it names, printers, transformers."""
    return [*filter(is_the_notebooks, _called(source)), *PRINTERS().values(), *_transformers()]


def names_for(source: str, namespace: dict[str, Any]) -> set[str]:
    """Return the names that a cell uses through the shell: classes of magics that it names, and macros."""
    classes = {each[1] for each in _called(source) if type(each) is tuple and each[0] == _METHOD}
    macros = {name for name in _WORD_ALONE.findall(source) if type(namespace.get(name)).__name__ == "Macro"}
    return (classes | macros) & namespace.keys()


def _called(source: str) -> list[Any]:
    """Return the magics that cross and that a cell names, as they are described."""
    magics = _MAGICS()
    named = set(_MAGIC.findall(source)) if magics else set()
    return [each for key, each in magics.items() if key.split(" ", 1)[1] in named]


# Extensions.


class Extensions:
    """The extensions that have magics: loaded on the other side as well, where a cell may name these.

    Others are not: what they do after each cell (`autotime`) would be done twice.

    Args:
        container: the process runs in a container, where cells load the extensions that count. In the kernel, those
            count whose magics a remote cell has named.
    """

    def __init__(self, *, container: bool = False) -> None:
        self._in_container = container
        self._named: set[str] = set()

    @property
    def state(self) -> State:
        """The state for the table: an item an extension, by its module."""
        return State("extensions", self._read, self._write)

    def named_in(self, source: str) -> set[str]:
        """Return the modules of the extensions whose magics a cell names; from now on they count."""
        loaded = _loaded_extensions()
        if not loaded:
            return set()
        called = set(_MAGIC.findall(source))
        found = {_extension_of(magics[name], loaded) for magics in _magic_dicts() for name in called & magics.keys()}
        self._named.update(found - {""})
        return found - {""}

    def _read(self, asked: Collection[str]) -> Items:
        loaded = _loaded_extensions()
        if self._in_container and loaded:
            counted = {_extension_of(each, loaded) for magics in _magic_dicts() for each in magics.values()} - {""}
        else:
            counted = self._named & loaded
        return {**{name: True if name in loaded else None for name in asked}, **dict.fromkeys(counted, True)}

    @staticmethod
    def _write(name: str, value: Any) -> None:
        manager = running_shell().extension_manager
        (manager.unload_extension if value is None else manager.load_extension)(name)


def _loaded_extensions() -> set[str]:
    manager = getattr(running_shell(), "extension_manager", None)
    loaded = set() if manager is None else set(manager.loaded)
    return {name for name in loaded if name.partition(".")[0] not in OF_EVERY_SHELL}


def _extension_of(magic: Any, loaded: set[str]) -> str:
    """Return the module of the extension that a magic belongs to; empty: to none."""
    holder = type(magic.__self__) if type(magic) is MethodType else magic
    module = str(getattr(holder, "__module__", ""))
    if module in loaded:
        return module
    package = module.partition(".")[0]
    return next((name for name in sorted(loaded) if name.partition(".")[0] == package), "")


# What changes a cell's code.


def _transformers() -> Iterator[Any]:
    yield from getattr(running_shell(), "ast_transformers", ())


def _read_transformers(asked: Collection[str]) -> Items:
    found = tuple(_transformers())
    return {"": found} if found or asked else {}


def _write_transformers(_: str, value: Any) -> None:
    for each in value or ():
        _use_variables_of_this_side(type(each))
    running_shell().ast_transformers[:] = value or ()


def _use_variables_of_this_side(kind: type) -> None:
    """Let the methods of a copied class of the notebook use the variables of this side."""
    for each in kind.__mro__:
        if each.__module__ == NOTEBOOK:
            for name, function in list(vars(each).items()):
                if type(function) is FunctionType and is_the_notebooks(function):
                    try:
                        setattr(each, name, on_this_side(function))
                    except BaseException as error:  # noqa: BLE001 - a metaclass of the user's may raise anything
                        pass_on(error)


MAGICS: Final = (
    State("magics", _MAGICS.with_removed, _write_magic),
    State("aliases", _ALIASES.with_removed, _write_alias),
    State("transformers of code", _read_transformers, _write_transformers),
)
