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


class ModalGpuError(Exception):
    """Base of all errors a user may meet. IPython shows its message and nothing of our frames."""

    def _render_traceback_(self) -> list[str]:
        """IPython's hook for an error that renders itself: one line, no frames."""
        return [f"{type(self).__name__}: {self}"]


class LineError(ModalGpuError):
    """A magic line that cannot be run as written. `line[start:end]` is the part at fault."""

    def __init__(self, message: str, line: str = "", start: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.message, self.line, self.start, self.end = message, line, start, end

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
