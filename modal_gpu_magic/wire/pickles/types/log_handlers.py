"""Pickle handlers of `logging`: with a lock of the receiver's, and attached to the same loggers."""

from __future__ import annotations

import logging
import os
from typing import Any

from modal_gpu_magic.wire.process.loggers import attach, loggers, relative
from modal_gpu_magic.wire.values.attributes import tells_all

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
        attach(logging.root if name == logging.root.name else logging.getLogger(name), handler)


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
