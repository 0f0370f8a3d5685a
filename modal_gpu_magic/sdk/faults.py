"""Translate Modal's errors into this package's errors, by one table, most specific first."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

from modal_gpu_magic.container.process.guard import WHY
from modal_gpu_magic.container.process.watchdog import EXIT_STATUS
from modal_gpu_magic.errors import (
    BackendLost,
    CellTimeout,
    ContainerLost,
    GivenUp,
    KernelEnds,
    MachineError,
    ModalGpuError,
    SessionEnded,
    SetupError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = {
    "SIGKILL": "killed (SIGKILL), probably out of memory; ask for more, for example --memory 32GB",
    "SIGSEGV": "crashed in native code (SIGSEGV)",
    "SIGABRT": "aborted (SIGABRT)",
    "SIGBUS": "crashed in native code (SIGBUS)",
    "SIGTERM": "terminated (SIGTERM)",
    "SIGILL": "used an instruction that the CPU does not have (SIGILL)",
}
_NUMBERS = {"-9": "SIGKILL", "-11": "SIGSEGV", "-6": "SIGABRT", "137": "SIGKILL", "139": "SIGSEGV"}
GONE = "Its variables are lost; the next cell starts a new container."


def _lost(error: BaseException) -> ModalGpuError:
    if _exit_code(error) == str(EXIT_STATUS):
        return CellTimeout(f"the cell exceeded its timeout and did not react, so its container was ended. {GONE}")
    died = "the container died while the cell ran" if _exit_code(error) else "the container was lost"
    return ContainerLost(f"{died}: {why_lost(error)}. {GONE}")


def why_lost(error: BaseException) -> str:
    """Return a clause that says why a container ended, from the error of a call in that container."""
    code = _exit_code(error)
    if not code:
        return str(error).strip() or type(error).__name__
    signal = re.search(r"\((SIG\w+)\)", str(error))
    name = signal[1] if signal else _NUMBERS.get(code, "")
    by_status = WHY.get(int(code), f"exit code {code}")
    return _SIGNALS.get(name) or (f"ended by the signal {name}" if name else by_status)


def _exit_code(error: BaseException) -> str:
    code = re.search(r"exit code: (-?\d+)", str(error))
    return code[1] if code else ""


def _brief(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _timed_out(error: BaseException) -> ModalGpuError:
    if "start" in str(error).lower():
        return MachineError(
            f"the container did not start in time ({str(error).strip().rstrip('.')}). Give it more with "
            "--start-timeout, e.g. --start-timeout 1h; the image's own start-up code may hang."
        )
    return CellTimeout(f"the container reached Modal's limit of 24 hours. {GONE}")


def _refused(error: BaseException) -> ModalGpuError:
    return MachineError(f"Modal refused the machine: {error}")


def _internal(error: BaseException) -> ModalGpuError:
    return BackendLost(f"Modal had an internal error: {error}")


_TABLE: tuple[tuple[str, Callable[[BaseException], ModalGpuError]], ...] = (
    ("ImageBuildError", lambda e: MachineError(f"the image could not be built. {e}")),
    ("FunctionTimeoutError", _timed_out),
    (
        "AuthError",
        lambda e: SetupError(
            f"Modal refused the token ({_brief(e)}): run `modal setup` in a terminal and restart the kernel, or use "
            "--backend local."
        ),
    ),
    ("InternalFailure", _lost),
    ("RemoteError", _lost),
    ("ConnectionError", lambda e: BackendLost(f"the connection to Modal was lost: {e}")),
    ("ServiceError", _internal),
    ("InternalError", _internal),
    ("DataLossError", _internal),
    ("ClientClosed", lambda _: BackendLost("the connection to Modal was closed.")),
    ("NotFoundError", _refused),
    ("InvalidError", _refused),
    ("ResourceExhaustedError", _refused),
    ("PermissionDeniedError", _refused),
    ("ExecutionError", _refused),
    ("UnimplementedError", _refused),
    ("VersionError", lambda e: SetupError(str(e))),
    ("DeserializationError", lambda e: MachineError(f"the container lacks a package that a value needs: {e}")),
    ("OutputExpiredError", lambda _: ContainerLost("Modal no longer has the result of this cell (kept for 7 days).")),
)
"""Exception classes of `modal.exception` by name, with the translation of each."""


def translate(error: BaseException) -> BaseException:
    """Translate an error of Modal and chain it; return any other exception unchanged."""
    if isinstance(error, ModalGpuError):
        return error
    for name, translation in _TABLE:
        if _is_modals(error, name):
            translated = translation(error)
            translated.__cause__ = error
            return translated
    return error


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise errors of Modal as errors of this package."""
    try:
        yield
    except Exception as error:
        known = translate(error)
        if known is error:
            raise
        raise known from error


_TRANSIENT = ("ConnectionError", "ServiceError", "InternalError", "ResourceExhaustedError")
"""Classes of `modal.exception` for a connection or a server that may work again: UNAVAILABLE, INTERNAL, throttling."""
_TRANSIENT_BELOW = {"grpclib.exceptions": ("StreamTerminatedError",), "asyncio": ("CancelledError",)}
"""The same of the SDK's transport, by module."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later: the network or the server failed, not the request."""
    if isinstance(error, OSError | TimeoutError) and not isinstance(error, ModalGpuError):
        return True
    if any(_is_modals(error, name) for name in _TRANSIENT):
        return True
    return any(
        isinstance(error, kind)
        for module, names in _TRANSIENT_BELOW.items()
        for name in names
        if (kind := getattr(sys.modules.get(module), name, None)) is not None
    )


def is_token_refused(error: BaseException | None) -> bool:
    """Whether Modal does not accept the token, as once it has expired: nothing has happened to what runs at Modal."""
    return _is_modals(error, "AuthError")


def is_out_of_reach(lost: BaseException | None) -> bool:
    """Whether a run without an answer may go on: the kernel has no connection, no accepted token, or is to end."""
    return isinstance(lost, GivenUp | KernelEnds) or is_token_refused(lost)


def failed_image(error: BaseException) -> str | None:
    """Return Modal's id of the image whose build has failed; None: another error."""
    return str(getattr(error, "image_id", "")) if _is_modals(error, "ImageBuildError") else None


def has_app_ended(error: BaseException | None) -> bool:
    """Whether the App has ended: by another kernel, or for want of heartbeats, as when the computer sleeps."""
    return isinstance(error, SessionEnded) or _is_modals(error, "NotFoundError") or _is_modals(error, "ConflictError")


def _is_modals(error: BaseException | None, name: str) -> bool:
    """Whether an error is of the SDK's class of that name; False if the SDK is not loaded."""
    kind = getattr(sys.modules.get("modal.exception"), name, None)
    return kind is not None and isinstance(error, kind)
