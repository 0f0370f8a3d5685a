"""Pickle handlers of `logging`: with a lock of the receiver's, and attached to the same loggers.

A logger goes by its name. The handlers that classes of the notebook make, which no name may hold, go with it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import types
import weakref
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.pickles.types.added_attributes import added_to, sendable, set_state_and_added
from modal_gpu_magic.wire.pickles.types.cloudpickle_names import goes_by_name
from modal_gpu_magic.wire.process.loggers import attach, loggers, relative
from modal_gpu_magic.wire.values.attributes import tells_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.wire.pickles.protocol import Pickler

_LOCK, _STREAM, _FILE, _MODE = "lock", "stream", "baseFilename", "mode"
_STAYS = frozenset({_LOCK, "_closed"})
"""Attributes of each side's own."""


def is_handler(kind: type) -> bool:
    """Whether a class is that of a handler with a pickle of no own making."""
    return issubclass(kind, logging.Handler) and tells_all(kind)


def reduce_handler(_: Any, handler: Any) -> Any:
    """Return the reduction of a handler. One that writes to a file opens the file anew, at the file's end."""
    state = {name: value for name, value in vars(handler).items() if name not in _STAYS}
    if isinstance(handler, logging.FileHandler):
        state.update({_STREAM: None, _MODE: "a", _FILE: relative(handler.baseFilename)})
    return handler_from, (type(handler),), (state, loggers_of(handler)), None, None, set_handler


def is_logger(kind: type) -> bool:
    """Whether a class is that of the loggers that `logging.getLogger` returns."""
    return kind in (logging.Logger, logging.RootLogger)


def reduce_logger(pickler: Pickler, logger: Any) -> tuple[Any, ...]:
    """Return the reduction of a logger: name, added attributes, its filters and the handlers that its messages reach.

    Filters and handlers of the notebook are meant. A trial leaves them out, since they may refer to the logger.
    """
    filters = [each for each in logger.filters if _is_of_notebook(each)]
    handlers = [each for each in _reached(logger) if any(map(_is_of_notebook, _parts(each)))]
    sent = [
        [each for each in own if pickler.travels(each)] if not pickler.is_trial else [] for own in (filters, handlers)
    ]
    _share(*sent)
    state = (None, sendable(pickler, added_to(logger)))
    return logger_with, (logger.name, *sent), state, None, None, set_state_and_added


def logger_with(name: str, filters: list[Any], handlers: list[logging.Handler]) -> logging.Logger:
    """Return the logger of a name, without the filters and handlers that the sender's logger no longer has.

    Args:
        name: the logger's name.
        filters: filters of the notebook that the logger has.
        handlers: handlers of the notebook that the logger's messages reach. They have attached themselves.
    """
    logger = _named(name)
    for each in [each for each in logger.filters if _is_shared(each) and each not in filters]:
        logger.removeFilter(each)
    for each in [each for each in _reached(logger) if _is_shared(each) and each not in handlers]:
        for owner in loggers_of(each):
            _named(owner).removeHandler(each)
    for each in filters:
        logger.addFilter(each)
    _share(filters, handlers)
    return logger


_shared: weakref.WeakSet[Any] = weakref.WeakSet()
"""Filters and handlers that have gone with a logger, in either direction."""


def _share(*sent: list[Any]) -> None:
    for each in itertools.chain(*sent):
        with contextlib.suppress(TypeError):  # its class allows no weak references
            _shared.add(each)


def _is_shared(part: Any) -> bool:
    with contextlib.suppress(TypeError):
        return part in _shared
    return False


def _named(name: str) -> logging.Logger:
    return logging.root if name == logging.root.name else logging.getLogger(name)


def _reached(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """Yield the handlers that a logger's messages reach."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _parts(handler: logging.Handler) -> tuple[Any, ...]:
    """Return what decides on the messages of a handler."""
    return handler, *filter(None, (handler.formatter,)), *handler.filters


def _is_of_notebook(part: Any) -> bool:
    """Whether a handler, formatter or filter is a function or an instance of a class that is pickled by value."""
    return not goes_by_name(part if type(part) is types.FunctionType else type(part))


def handler_from(kind: type[logging.Handler]) -> logging.Handler:
    """Return a handler without calling its class's `__init__`, which may take other arguments."""
    made = kind.__new__(kind)
    logging.Handler.__init__(made)
    return made


def set_handler(handler: Any, content: tuple[dict[str, Any], list[str]]) -> None:
    """Set attributes and loggers of a handler; a file that is open stays open."""
    state, names = content
    if isinstance(handler, logging.FileHandler):
        state = {**state, _FILE: os.path.abspath(state[_FILE])}  # noqa: PTH100 - as FileHandler, which resolves no links
        if vars(handler).get(_STREAM) is not None and handler.baseFilename == state[_FILE]:
            state.update({_STREAM: handler.stream, _MODE: handler.mode})
    attributes = vars(handler)
    for name in attributes.keys() - state.keys() - _STAYS:
        del attributes[name]
    attributes.update(state)
    for logger in loggers():
        if logger.name not in names and handler in logger.handlers:
            logger.removeHandler(handler)
    for name in names:
        attach(_named(name), handler)


def absorb_handler(old: logging.Handler, new: logging.Handler) -> bool:
    """Write the attributes of `new` into `old`, which takes the place of `new` in the loggers."""
    state = {name: value for name, value in vars(new).items() if name not in _STAYS}
    names = loggers_of(new)
    for logger in loggers():
        if new in logger.handlers:
            logger.handlers[:] = [each for each in logger.handlers if each is not old]
            logger.handlers[logger.handlers.index(new)] = old
    set_handler(old, (state, names))
    return True


def loggers_of(handler: logging.Handler) -> list[str]:
    """Return the names of the loggers that a handler is attached to."""
    return [logger.name for logger in loggers() if handler in logger.handlers]
