"""A call of a service across: arguments and results as bytes, an error as a `Fault`. And what its container runs.

What is plain goes through Python's own pickle, which costs a call next to nothing. What that would tear (classes and
functions of the notebook, which are made by value and must stay the same class; tensors on a GPU) goes as a cell's
values do, by `wire.transfer`.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.events import Asked, Failure, Modules, ProjectFiles, Transfer
from modal_gpu_magic.wire.messages.seal import PROTOCOL, opened, seal, sealed
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.transfer import pack, unpack

WAKE = b""
"""Arguments of a call that only wakes a container: no user code sees it."""
_DELICATE = (b"__main__", b"torch", b"modal_gpu_magic")
"""Where a plain pickle has one of these, it may name what only the notebook has, or a tensor: rather too often."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a container of a service runs.

    Attributes:
        service: its name.
        source: the cell, run once a container; empty where functions come among the values.
        count: the cell's number, for tracebacks.
        functions: names to call, bound when the source has run.
        values: of the notebook, which the source and the functions read.
        store: directory of shared buffers (local backend); None: buffers travel in `values`.
        modules: the notebook's own, as far as source and functions use them.
        files: of the notebook's project, that the source names.
        asked: what the container was asked for, for the functions to see.
    """

    service: str
    source: str
    functions: tuple[str, ...]
    count: int = 1
    values: Transfer = field(default_factory=Transfer)
    store: str | None = None
    modules: Modules | None = None
    files: ProjectFiles = field(default_factory=ProjectFiles)
    asked: Asked = field(default_factory=Asked)


class Fault(Exception):  # noqa: N818 - it carries an error, and is none of ours
    """A user's exception on its way home: `failure` has it by value, with the traceback as IPython shows it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.ename}: {self.failure.evalue}"


def encode(value: Any, namespace: dict[str, Any], what: str) -> bytes:
    """Bytes of a value; `what` names it in an error: `the result of predict`.

    Raises:
        TransferError: it cannot be pickled; with the reason.
    """
    try:
        plain = pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001 - a lambda, a class of a function: whatever it is, ours takes more, or says why not
        plain = b""
    if plain and not any(mark in plain for mark in _DELICATE):
        return seal(plain)
    return sealed(pack({what: value}, namespace, InlineStore(), session=what))


def decode(data: bytes, namespace: dict[str, Any]) -> Any:
    """The value of what `encode` made. Functions in it get `namespace` as their globals.

    Raises:
        TransferError: it cannot be made here, with the reason, or was damaged on its way.
    """
    value = opened(data)
    if type(value) is not Transfer:
        return value
    arrived = unpack(value, namespace, InlineStore(dict(value.inline)), restore_devices=True)
    for name, why in arrived.failed.items():
        raise TransferError(f"{name} cannot be made here: {why}.")
    return next(iter(arrived.values.values()))


def failure_of(error: BaseException, lines: tuple[str, ...], words: str, namespace: dict[str, Any]) -> Failure:
    """A user's exception as it travels: itself if it can be pickled, its name and words in any case."""
    travels = fingerprint(error, namespace) is not None
    exception = pack({"error": error}, namespace, InlineStore()) if travels else None
    return Failure(type(error).__name__, words, lines, exception)
