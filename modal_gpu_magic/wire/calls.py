"""Encode calls of a service: arguments and results as bytes, errors as `Fault`; `Program` is what the container runs.

Plain values use Python's own pickle, which costs almost no time per call. Values that plain pickle breaks (classes and
functions of the notebook, which are pickled by value and must keep their identity; tensors on a GPU) use
`wire.transfer`, like the values of a cell.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from typing import Any

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.messages.compact import PROTOCOL
from modal_gpu_magic.wire.messages.events import Asked, Failure, Modules, ProjectFiles, Transfer
from modal_gpu_magic.wire.messages.seal import opened, seal, sealed
from modal_gpu_magic.wire.messages.shapes import checked
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.process.process_state import States
from modal_gpu_magic.wire.transfer import pack, unpack
from modal_gpu_magic.wire.values.own_code import pass_on

WAKE = b""
"""Arguments of a call that only starts a container: user code does not get this call."""
_DELICATE = (b"__main__", b"torch", b"modal_gpu_magic")
"""Byte strings that mark a plain pickle as unsafe: the pickle may name a notebook object or a tensor.

A false positive only costs time.
"""


@dataclass(frozen=True, slots=True)
class Program:
    """The code and values that a container of a service runs.

    Attributes:
        service: name of the service.
        source: source of the cell, run once per container; empty: `values` contains the functions.
        functions: names of the functions to call; each name is bound after the source has run.
        count: the cell's execution count, for tracebacks.
        values: values of the notebook that the source and the functions read.
        store: directory of shared buffers (local backend); None: the buffers are in `values`.
        modules: the notebook's own modules that the source and the functions use.
        files: files of the notebook's project that the source names.
        asked: the resources requested for the container, as `modal_gpu_magic.current()` shows them.
        states: the process's state in which the container begins.
        submodules: submodules that the source and the functions read through packages.
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
    states: States = field(default_factory=dict)
    submodules: tuple[str, ...] = ()


class Fault(Exception):  # noqa: N818 - the class carries a user's error and is no error of this package
    """Carries a user's exception to the caller.

    Args:
        failure: the exception by value, with the traceback as IPython shows it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.ename}: {self.failure.evalue}"


def encode(value: Any, namespace: dict[str, Any], what: str) -> bytes:
    """Return a value as bytes.

    Args:
        value: the value.
        namespace: the notebook's globals.
        what: the noun that names the value in an error: `the result of predict`.

    Raises:
        TransferError: the value cannot be pickled; the message has the reason.
    """
    try:
        plain = pickle.dumps(value, PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - a lambda, a local class, …: `pack` pickles more types, and reports the reason
        pass_on(error)
        plain = b""
    if plain and not any(mark in plain for mark in _DELICATE):
        return seal(plain)
    return sealed(pack({what: value}, namespace, InlineStore(), session=what))


def decode(data: bytes, namespace: dict[str, Any]) -> Any:
    """Return the value that `encode` encoded. Functions in the value get `namespace` as their globals.

    Raises:
        TransferError: the value cannot be loaded in this process, or was damaged; the message has the reason.
    """
    value = opened(data)
    if type(value) is not Transfer:
        return value
    checked(value, Transfer)
    arrived = unpack(value, namespace, InlineStore(dict(value.inline)), restore_devices=True)
    for name, why in arrived.failed.items():
        raise TransferError(f"{name} cannot be loaded: {why}.")
    return next(iter(arrived.values.values()))


def failure_of(error: BaseException, lines: tuple[str, ...], words: str, namespace: dict[str, Any]) -> Failure:
    """Return a user's exception as a message: name, text and traceback; the exception itself only if it pickles."""
    travels = fingerprint(error, namespace) is not None
    exception = pack({"error": error}, namespace, InlineStore()) if travels else None
    return Failure(type(error).__name__, words, lines, exception)
