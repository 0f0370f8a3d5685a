"""The states of `logging`: level and handlers of each logger, and the limit that `logging.disable` sets."""

from __future__ import annotations

import logging
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.process.process_state import State, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from modal_gpu_magic.wire.process.process_state import Items

QUIET: Final = ("IPKernelApp", "asyncio", "modal-", "tornado", "traitlets")
"""Prefixes of the loggers of the programs that run cells."""

_ROOT = "root"
_LIMIT = "limit"
_NEW = (logging.NOTSET, True, False, ())
"""The facts of a new logger."""

_substitutes: Final[weakref.WeakSet[logging.Handler]] = weakref.WeakSet()
"""Handlers that stand for those of the other side."""


def loggers() -> Iterator[logging.Logger]:
    """Yield all loggers of this process."""
    yield logging.root
    # `loggerDict` is undocumented (since Python 2.3). Without it only the root logger is known.
    for each in list(getattr(logging.root.manager, "loggerDict", {}).values()):
        if isinstance(each, logging.Logger):
            yield each


def describe(handler: logging.Handler) -> tuple[Any, ...] | None:
    """Return target, level and format of a handler that writes to stdout, stderr or a file; None for all others.

    A handler or a formatter of another class is described as the plain one nearest to it: no message is lost.
    """
    target = _target(handler)
    if target is None or handler.filters:
        return None
    form = handler.formatter
    text, dates = getattr(form, "_fmt", None), getattr(form, "datefmt", None)  # no public reader of `_fmt`, `_style`
    if not isinstance(text, str):
        return target, handler.level, None, None, "%"
    signs: dict[Any, str] = {logging.PercentStyle: "%", logging.StrFormatStyle: "{", logging.StringTemplateStyle: "$"}
    return target, handler.level, text, dates, signs.get(type(getattr(form, "_style", None)), "%")


def attach(logger: logging.Logger, handler: logging.Handler) -> None:
    """Add a handler that has come from the other side, in the place of the one that stands for it here."""
    substitutes = (each for each in logger.handlers if each in _substitutes and describe(each) == describe(handler))
    substitute = next(substitutes, None)
    if handler in logger.handlers:
        return
    if substitute is None:
        logger.addHandler(handler)
    else:
        logger.handlers[logger.handlers.index(substitute)] = handler


def relative(file: str) -> str:
    """Return the name of a file from the working directory on, which both sides have; other names stay."""
    path, folder = Path(file), Path.cwd()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else file


def _target(handler: logging.Handler) -> Any:
    """Return `stdout`, `stderr`, or name and encoding of a file."""
    if isinstance(handler, logging.FileHandler):
        return relative(handler.baseFilename), handler.encoding
    # rich's RichHandler writes to the file of its console.
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    return next((name for name in ("stdout", "stderr") if stream is getattr(sys, name)), None)


def _read_loggers(asked: Collection[str]) -> Items:
    """Read level, `propagate`, `disabled` and plain handlers of each logger that differs from a new logger."""
    items = {}
    for each in loggers():
        name, is_root = each.name, each is logging.root
        new = (logging.WARNING, *_NEW[1:]) if is_root else _NEW
        if name in asked or each.handlers or (each.level, each.propagate, each.disabled) != new[:3]:
            facts = _facts(each)
            if name in asked or (facts != new and not name.startswith(QUIET)):
                items[name] = facts
    return items


def _facts(logger: logging.Logger) -> tuple[Any, ...]:
    handlers: tuple[Any, ...] = ()
    if logger.handlers and not _is_of_a_library(logger.name):
        handlers = tuple(each for handler in logger.handlers if (each := describe(handler)) is not None)
    return logger.level, logger.propagate, logger.disabled, handlers


def _is_of_a_library(name: str) -> bool:
    """Whether a logger belongs to an imported library, which creates its handlers on both sides itself."""
    top = name.partition(".")[0]
    return top in sys.modules and top not in (_ROOT, "__main__")


def _write_logger(name: str, value: Any) -> None:
    logger = logging.root if name == _ROOT else logging.getLogger(name)
    level, logger.propagate, logger.disabled, handlers = value
    logger.setLevel(level)
    lacking = list(handlers)
    for handler in list(logger.handlers):
        described = describe(handler)
        if described in lacking:  # the handler stays, of whatever class it is
            lacking.remove(described)
        elif described is not None:
            logger.removeHandler(handler)
    for each in lacking:
        logger.addHandler(_substitute(*each))


def _substitute(target: Any, level: int, text: str | None, dates: str | None, style: Any) -> logging.Handler:
    """Return a handler that does what was described. A file is opened with the first message."""
    made: logging.Handler
    if isinstance(target, str):
        made = logging.StreamHandler(getattr(sys, target))
    else:
        file, encoding = target
        if not Path(file).is_absolute():
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        made = logging.FileHandler(file, encoding=encoding, delay=True)
    made.setLevel(level)
    if text is not None:
        made.setFormatter(logging.Formatter(text, dates, style))
    _substitutes.add(made)
    return made


_names_of_levels: Final[Callable[[], Mapping[str, int]]] = getattr(logging, "getLevelNamesMapping", dict)
"""Python 3.10 has no public reader."""
_LEVELS: Final = frozenset(_names_of_levels().items())


def _level_names() -> Items:
    """Read the names that a program has given to levels, by number."""
    return {str(level): name for name, level in _names_of_levels().items() if (name, level) not in _LEVELS}


def _captures_warnings() -> bool:
    """Whether `logging.captureWarnings` is on; it has no public reader (Python 3.11 to 3.14)."""
    return getattr(logging, "_warnings_showwarning", None) is not None


_CAPTURES: Final = "captures"

LOGGING: Final = (
    State("logging", _read_loggers, _write_logger),
    settings("names of levels", _level_names, lambda level, name: logging.addLevelName(int(level), name), dict),
    settings(
        "warnings in the log",
        lambda: {_CAPTURES: _captures_warnings()},
        lambda _, value: logging.captureWarnings(value),
        lambda: {_CAPTURES: False},
    ),
    settings(
        "logging.disable",
        lambda: {_LIMIT: logging.root.manager.disable},
        lambda _, value: logging.disable(value),
        lambda: {_LIMIT: logging.NOTSET},
    ),
)
