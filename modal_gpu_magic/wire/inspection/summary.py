"""Describe a value by one line and by a rich repr of limited size. The functions do not raise.

`wire.inspection.size` estimates the size. Only imported libraries are considered, because no value of another exists.
"""

from __future__ import annotations

import base64
import reprlib
import sys
import types
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.values.imports import DeferredImport, deferral
from modal_gpu_magic.wire.values.kinds import is_a, name_of
from modal_gpu_magic.wire.values.own_code import pass_on
from modal_gpu_magic.wire.values.sound_text import sound

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_CHARACTERS = 60
"""Longest line for an atom, characters."""

TEXT_CHARACTERS = 4_000
"""Longest plain repr of a value, characters."""

HEAD_ROWS = 10

SHOWN_ITEMS = 20
"""Items of a container in its plain repr."""

_CONTAINERS = (list, tuple, set, frozenset, dict)
_ATOMS = (bool, int, float, complex, type(None))


def summary(value: Any) -> str:
    """Return one line: `Tensor float32 [4096, 4096] on cuda:0, 67 MB`, `DataFrame 1,000 x 12, 96 kB`, `list of 3`."""
    try:
        for matches, line in _KINDS:
            if matches(value):
                return sound(line(value))
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is read
        pass_on(error)
        return name_of(type(value))
    return name_of(type(value))


def bundle(value: Any, limit: int = 20_000) -> dict[str, Any]:
    """Return a value's own rich repr as a mime bundle of at most `limit` characters; of a large table, the head."""
    try:
        found = _bundle(value)
        if _size(found) > limit and _is_table(value):
            found = {**_bundle(value.head(HEAD_ROWS)), "text/plain": found["text/plain"]}
        return _bounded(found, limit)
    except BaseException as error:  # noqa: BLE001 - a user's `_repr_html_` may raise anything
        pass_on(error)
        return {"text/plain": summary(value)}


def _bundle(value: Any) -> dict[str, Any]:
    text = _text(value)
    if is_a(value, (*_CONTAINERS, str, bytes, bytearray)):
        return {"text/plain": text}  # IPython would write a thousand items at every level
    ipython = sys.modules.get("IPython.core.getipython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and not hasattr(type(value), "_ipython_display_"):  # that would show the value
        found = dict(shell.display_formatter.format(value)[0])
    else:
        html = getattr(type(value), "_repr_html_", None)
        found = {} if html is None else {"text/html": html(value)}
    found = {mime: base64.b64encode(it).decode() if is_a(it, bytes) else it for mime, it in found.items() if it}
    return {**found, "text/plain": str(found.get("text/plain", text))[:TEXT_CHARACTERS]}


def _bounded(found: dict[str, Any], limit: int) -> dict[str, Any]:
    """Remove the largest reprs from a bundle until it fits the limit."""
    kept = dict(found)
    while _size(kept) > limit and len(kept) > 1:
        del kept[max((mime for mime in kept if mime != "text/plain"), key=lambda mime: len(str(kept[mime])))]
    kept["text/plain"] = kept["text/plain"][:limit]
    return {mime: sound(it) if is_a(it, str) else it for mime, it in kept.items()}


def _size(found: dict[str, Any]) -> int:
    return sum(len(str(it)) for it in found.values())


def _text(value: Any) -> str:
    if is_a(value, (*_CONTAINERS, str, bytes, bytearray)):
        shortener = reprlib.Repr()
        shortener.maxstring = shortener.maxother = 1_000
        shortener.maxlist = shortener.maxtuple = shortener.maxset = shortener.maxfrozenset = shortener.maxdict = (
            SHOWN_ITEMS
        )
        return shortener.repr(value)
    return repr(value)


def _is_table(value: Any) -> bool:
    return hasattr(type(value), "head") and hasattr(type(value), "_repr_html_")


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of an array of any library; None: the value has no shape."""
    shape = None if is_a(value, type) else getattr(value, "shape", None)
    return tuple(shape) if is_a(shape, tuple) and all(is_a(length, int) for length in shape) else None


def _array(value: Any) -> str:
    dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
    device = str(getattr(value, "device", ""))
    suffix = f" on {device}" if device and device != "cpu" else ""
    head = f"{name_of(type(value))} {dtype} {list(_shape(value) or ())}".replace("  ", " ")
    return f"{head}{suffix}, {size_text(nbytes_of(value))}"


def _table(value: Any) -> str:
    shape = " x ".join(f"{length:,}" for length in value.shape)
    return f"{name_of(type(value))} {shape}, {size_text(nbytes_of(value))}"


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return hasattr(torch, "nn") and is_a(value, torch.nn.Module)  # type: ignore[union-attr]  # it is loaded


def _module(value: Any) -> str:
    parameters = list(value.parameters())
    devices = sorted({str(parameter.device) for parameter in parameters} - {"cpu"})
    suffix = f" on {', '.join(devices)}" if devices else ""
    count = sum(parameter.numel() for parameter in parameters)
    return f"{name_of(type(value))} of {count:,} parameters{suffix}, {size_text(nbytes_of(value))}"


def _short(value: Any) -> str:
    text = f"{name_of(type(value))} {value!r}"
    return text if len(text) <= LINE_CHARACTERS else f"{text[: LINE_CHARACTERS - 1]}…"


def _bytes(value: bytes | bytearray) -> str:
    return f"{name_of(type(value))}, {size_text(len(value))}"


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)

_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], str]], ...] = (
    (lambda value: value is None, lambda _: "None"),
    (lambda value: is_a(value, _ATOMS), _short),
    (lambda value: is_a(value, str), lambda value: f"str of {len(value):,} characters"),
    (lambda value: is_a(value, bytes | bytearray), _bytes),
    (lambda value: is_a(value, _CONTAINERS), lambda value: f"{name_of(type(value))} of {len(value):,}"),
    (lambda value: is_a(value, type), lambda value: f"class {value.__qualname__}"),
    (lambda value: is_a(value, _FUNCTIONS), lambda value: f"function {value.__qualname__}"),
    (lambda value: is_a(value, types.ModuleType), lambda value: f"module {value.__name__}"),
    (lambda value: type(value) is DeferredImport, lambda value: f"import of {deferral(value).statement.path}"),
    (_is_module, _module),
    (lambda value: _is_table(value) and _shape(value) is not None, _table),
    (lambda value: _shape(value) is not None, _array),
)
"""Predicates and functions that return the line; the first match applies."""
