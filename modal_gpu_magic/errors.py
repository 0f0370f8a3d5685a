"""The errors that this package raises on purpose. Any other exception from this package is a bug.

ModalGpuError                  base class; IPython prints the message without a traceback
├── LineError                  the magic line is wrong: the fault, a caret under the fault, the fix. Nothing was sent
│   └── UnknownGpuError        the catalog has no such GPU; the message names the nearest ones
├── SetupError                 a backend cannot be reached or used: no token, an expired one, a missing package
├── TransferError              a value cannot travel; names the value, the reason, the option that overrides
│   ├── NoRoomError            the directory in which large values cross, in /dev/shm, is full
│   └── RemoteValueError       the notebook used a value that is in the container only
│       └── LostValueError     the value is lost with its container; also a NameError
├── CopyError                  put, get, ls: no such Volume or path, or a file would be overwritten
├── MachineError               an image failed to build, or Modal refused the machine
├── ServiceError               a service cannot be created or used as requested; names the change to make
├── RunError                   a cell was ended from outside
│   ├── CellTimeout            the cell exceeded its `--timeout`
│   ├── ContainerLost          the container of the cell died: exit code, signal, out of memory
│   ├── RankLost               a rank of the cell died: exit code, signal, out of memory; the container still runs
│   └── BackendLost            the control plane, or the connection to the control plane, is lost
│       ├── KernelEnds         the kernel is restarted or shut down; the detached run goes on
│       ├── TakenOver          another kernel has attached to the detached session; the run goes on
│       └── SessionEnded       another kernel has ended the detached session; the next cell starts a new one
└── RemoteError                replaces a cell's own exception whose class this kernel cannot import

A cell's own exception is raised with its own class; `RemoteError` is only for classes that this kernel cannot import.
"""

from __future__ import annotations

import re
from typing import TypeVar

_Error = TypeVar("_Error", bound=BaseException)
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*(?:"|\\?$)|'[^']*(?:'|$)|\\\S?|[^\s"'\\])+""", re.DOTALL)
"""A word of a line, as a shell reads it: an open quote reaches to the end."""
_QUOTED = re.compile(r""""((?:\\.|[^"\\])*)"?|'([^']*)'?|\\(.)""", re.DOTALL)
_OPTION = re.compile(r"--?e[\w-]*(=?)")
"""`--env`, and what may have been meant for it."""
_UPPER = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"(?=.*[a-z])(?=.*[0-9])\S{8,}")
"""A word beside `--env KEY` that may be the value of KEY: no GPU is as long and has a small letter."""
_BEGINNING = re.compile(r"""(?:^|(?<=[\s"'=]))(?:--?e[\w-]*|[A-Z_][A-Z0-9_]*=)""")
"""Where a variable may begin, whatever an open quote before it makes of it."""
SHORTEST_MASKED = 4
"""Characters of a value that is taken out of a message, too: a shorter one is in any text."""


def masked(line: str) -> str:
    """A magic line whose values of environment variables are stars: every character keeps its place."""
    for start, end in _values(line):
        line = line[:start] + "*" * (end - start) + line[end:]
    return line


def _values(line: str) -> set[tuple[int, int]]:
    """Where values of environment variables stand: behind `--env NAME=`, and behind any `NAME=` in capitals."""
    beginnings = {0, *(match.start() for match in _BEGINNING.finditer(line))}
    return {span for beginning in beginnings for span in _values_from(line, beginning)}


def _values_from(line: str, beginning: int) -> list[tuple[int, int]]:
    found, is_variable = [], False
    for match in _WORD.finditer(line, beginning):
        start, end = match.span()
        word = match[0].lstrip("\"'")
        if option := _OPTION.match(word):
            is_variable = True
            if not option[1]:
                continue
            start = line.index(option[0], start) + len(option[0])
        elif word.startswith("-"):
            is_variable = False
        name, equals, value = line[start:end].partition("=")
        if is_variable and not equals:  # `--env KEY:VALUE`, `--env KEY VALUE`
            name, equals, value = line[start:end].partition(":")
            if not equals and _SECRET.fullmatch(name):
                name, equals, value = "", " ", name
        is_short = len(value) < SHORTEST_MASKED  # `H100=2` was meant for a GPU
        is_upper = _UPPER.fullmatch(_unquoted(name)) and name != "GPU"
        is_upper = is_upper and not value.startswith("=")  # `X==1.2.3` is a requirement
        if equals and (is_variable or (is_upper and not is_short)):
            found.append((end - len(value), end))
    return found


def _unquoted(text: str) -> str:
    """Return a part of a word without its quotes and escapes."""
    return _QUOTED.sub(lambda match: next(filter(None, match.groups()), ""), text)


def _parts(value: str) -> list[str]:
    """Return what a message may show of a value, longest first: all of it, or its items."""
    texts = {value.strip("\"'"), _unquoted(value)}
    texts |= {part for text in texts for part in re.split(r"[\s,:;=]+", text)}
    return sorted((text for text in texts if len(text) >= SHORTEST_MASKED), key=len, reverse=True)


def shown_alone(error: _Error) -> _Error:
    """Make IPython show an error of Python's own as one line, without frames of this package."""
    line = f"{type(error).__name__}: {error}"
    error._render_traceback_ = lambda: [line]  # type: ignore[attr-defined]  # IPython's hook
    return error


class ModalGpuError(Exception):
    """Base class of the errors that users see. IPython shows the message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """Return one line without frames, for IPython's hook of this name."""
        return [f"{type(self).__name__}: {self}"]


class LineError(ModalGpuError):
    """A magic line that cannot be run as written.

    Args:
        message: the sentence that names the fault and the fix.
        line: the magic line, with stars for values of environment variables, which may be secrets; empty: the message
            is shown without a line.
        start: index of the first character at fault.
        end: index after the last character at fault.
    """

    def __init__(self, message: str, line: str = "", start: int = 0, end: int = 0) -> None:
        for first, last in _values(line):
            for part in _parts(line[first:last]):
                message = message.replace(part, "***")
        super().__init__(message)
        self.message, self.line, self.start, self.end = message, masked(line), start, end

    def __str__(self) -> str:
        """Return the message, then the line with a caret under the fault."""
        if not self.line:
            return self.message
        caret = " " * self.start + "^" * max(1, self.end - self.start)
        return f"{self.message}\n    {self.line}\n    {caret}"

    def __reduce__(self) -> tuple[type[LineError], tuple[str, str, int, int]]:
        """Pickle the error with the position of the fault."""
        return type(self), (self.message, self.line, self.start, self.end)


class UnknownGpuError(LineError):
    """A GPU name that is not in the catalog."""


class SetupError(ModalGpuError):
    """A backend that cannot be used: no token, no network, or a missing package."""


class TransferError(ModalGpuError):
    """A value that cannot be sent, with the reason and the option that overrides the check.

    Attributes:
        refused: the value's name; empty: the error is not about one value.
    """

    refused = ""


class DamagedError(TransferError):
    """What came from the other side is not what was sent."""


class NoRoomError(TransferError):
    """The directory of large values is full."""


class RemoteValueError(TransferError):
    """The notebook used a value that is in the container only."""


class LostValueError(RemoteValueError, NameError):
    """A cell reads a name whose value is lost with its container. Also a NameError, as for a name that is not bound."""


class CopyError(ModalGpuError):
    """Files cannot be copied: no such Volume or path, or a file would be overwritten."""


class MachineError(ModalGpuError):
    """The machine could not be created: an image build failed, or Modal refused the request."""


class ServiceError(ModalGpuError):
    """A service that cannot be created (no function, a batched generator) or used (the service was stopped)."""


class RunError(ModalGpuError):
    """A cell that was ended from outside."""


class CellTimeout(RunError):  # noqa: N818 - the name says which event ended the cell
    """The cell exceeded its time limit."""


class ContainerLost(RunError):  # noqa: N818
    """The container died while the cell ran: exit code, signal, or out of memory."""


class AnswerLost(RunError):  # noqa: N818
    """The nodes of a cluster have ended their cell, and the answer did not arrive."""


class RankLost(RunError):  # noqa: N818
    """A rank of the cell died: exit code, signal, or out of memory. The session's container still runs."""


class BackendLost(RunError):  # noqa: N818
    """The control plane, or the connection to the control plane, is lost."""


class GivenUp(BackendLost):
    """The connection did not come back in time. The run may have ended, or may end later: its container knows.

    Args:
        lost: the clause about the connection.
        then: the sentences about the run.
    """

    def __init__(self, lost: str, then: str) -> None:
        super().__init__(f"{lost}. {then}")
        self.lost, self.then = lost, then

    def __reduce__(self) -> tuple[type[GivenUp], tuple[str, str]]:
        """Pickle the error with both parts."""
        return type(self), (self.lost, self.then)


class TakenOver(BackendLost):
    """Another kernel has attached to the detached session."""


class SessionEnded(BackendLost):
    """Another kernel has ended the detached session: its App, queue and Volume do not exist any more."""


class KernelEnds(BackendLost):
    """The kernel is asked to end while a cell of a detached session runs; the run goes on."""


class RemoteError(ModalGpuError):
    """Replaces a cell's own exception whose class this kernel cannot import."""
