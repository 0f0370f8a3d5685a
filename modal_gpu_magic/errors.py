"""Every error this package raises on purpose. What is not below is a bug of ours.

ModalGpuError                  what a user may meet; printed as its message, without our frames
├── LineError                  the magic line is wrong: the fault, a caret under it, the way out. Nothing was sent
│   └── UnknownGpuError        no such GPU in the catalog; carries the nearest names
├── SetupError                 a backend cannot be reached or used: no token, an expired one, a missing package
├── TransferError              a value cannot travel; names the value, the reason, the option that overrides
│   └── RemoteValueError       a value that lives in the container was used here
├── CopyError                  put, get, ls: no such Volume or path, or something is in the way
├── MachineError               an image failed to build, or Modal refused the machine
├── ServiceError               a service that cannot be made, or used, as asked: what to change
├── RunError                   a cell did not end by itself
│   ├── CellTimeout            it ran into its `--timeout`
│   ├── ContainerLost          its container died: exit code, signal, out of memory
│   ├── RankLost               a rank of it died: exit code, signal, out of memory; its container lives
│   └── BackendLost            the control plane or the connection to it is gone
└── RemoteError                stands in for a cell's own exception whose class does not exist here

A cell's own exception is raised as itself; `RemoteError` is only for classes this kernel cannot import.
"""

from __future__ import annotations

import re

_VARIABLE = re.compile(
    r"""(?<!\S)
    (?P<option>--?e[\w-]*(?:\s+|=))?                     # --env, and what may have been meant for it
    (?: (?P<quote>["'])(?P<quoted>[\w.-]*=)(?P<all>(?:\\.|(?!(?P=quote)).)*)
      | (?P<name>[\w.-]*=)(?P<value>(?:"(?:\\.|[^"\\])*"?|'[^']*'?|\\.|[^\s"'\\])*) )""",
    re.VERBOSE | re.DOTALL,
)
_UPPER = re.compile(r"[A-Z_][A-Z0-9_]*=")
SHORTEST_MASKED = 4
"""Characters of a value that is taken out of a message, too: a shorter one is in any text."""


def masked(line: str) -> str:
    """A magic line whose values of environment variables are stars: every character keeps its place."""
    for start, end in reversed(_values(line)):
        line = line[:start] + "*" * (end - start) + line[end:]
    return line


def _values(line: str) -> list[tuple[int, int]]:
    """Where values of environment variables stand: behind `--env NAME=`, and behind any `NAME=` in capitals."""
    found = []
    for match in _VARIABLE.finditer(line):
        group, name = ("all", match["quoted"]) if match["quote"] else ("value", match["name"])
        is_short = len(match[group]) < SHORTEST_MASKED  # `H100=2` was meant for a GPU
        is_upper = _UPPER.fullmatch(name) and not match[group].startswith("=")  # `X==1.2.3` is a requirement
        if match["option"] or (is_upper and not is_short):
            found.append(match.span(group))
    return found


class ModalGpuError(Exception):
    """Base of all errors a user may meet. IPython shows its message and nothing of our frames."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook for an error that renders itself: one line, no frames."""
        return [f"{type(self).__name__}: {self}"]


class LineError(ModalGpuError):
    """A magic line that cannot be run as written. `line[start:end]` is the part at fault.

    Values of environment variables may be secrets: `line` has stars in their place, and `message` none of them.
    """

    def __init__(self, message: str, line: str = "", start: int = 0, end: int = 0) -> None:
        for first, last in _values(line):
            value = line[first:last].strip("\"'")
            message = message.replace(value, "***") if len(value) >= SHORTEST_MASKED else message
        super().__init__(message)
        self.message, self.line, self.start, self.end = message, masked(line), start, end

    def __str__(self) -> str:
        """The sentence, then the line with a caret under the fault."""
        if not self.line:
            return self.message
        caret = " " * self.start + "^" * max(1, self.end - self.start)
        return f"{self.message}\n    {self.line}\n    {caret}"

    def __reduce__(self) -> tuple[type[LineError], tuple[str, str, int, int]]:
        """Survive pickling with the position."""
        return type(self), (self.message, self.line, self.start, self.end)


class UnknownGpuError(LineError):
    """A GPU name that the catalog does not have."""


class SetupError(ModalGpuError):
    """A backend that cannot be used as things are: no token, no network, a package that is missing."""


class TransferError(ModalGpuError):
    """A value that cannot travel, with the reason and the option that overrides."""


class DamagedError(TransferError):
    """What came from the other side is not what was sent."""


class RemoteValueError(TransferError):
    """A value that lives in the container was used in the notebook."""


class CopyError(ModalGpuError):
    """Files cannot be copied as asked: no such Volume or path, or a file that would be overwritten."""


class MachineError(ModalGpuError):
    """The machine could not be made: a failed image build, a refusal by Modal."""


class ServiceError(ModalGpuError):
    """A service that cannot be made as written (no function, a batched generator) or used as asked (it was stopped)."""


class RunError(ModalGpuError):
    """A cell that did not end by itself."""


class CellTimeout(RunError):  # noqa: N818 - it reads as what happened
    """The cell ran into its time limit."""


class ContainerLost(RunError):  # noqa: N818
    """The container died under the cell: exit code, signal, or out of memory."""


class RankLost(RunError):  # noqa: N818
    """A rank of the cell died: exit code, signal, or out of memory. The session's container lives."""


class BackendLost(RunError):  # noqa: N818
    """The control plane, or the connection to it, is gone."""


class RemoteError(ModalGpuError):
    """Stands in for a cell's own exception whose class does not exist in this kernel."""
