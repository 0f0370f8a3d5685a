"""Modal's errors and ours for them."""

from __future__ import annotations

import pytest
from modal import exception as modals

from modal_gpu_magic.container.process.watchdog import EXIT_STATUS
from modal_gpu_magic.errors import (
    BackendLost,
    CellTimeout,
    ContainerLost,
    LineError,
    MachineError,
    ModalGpuError,
    SetupError,
)
from modal_gpu_magic.sdk.faults import has_app_ended, translate

LEFT = "Container terminated with exit code: "
CASES: list[tuple[BaseException, type[ModalGpuError], str]] = [
    (modals.InternalFailure(f"{LEFT}3"), ContainerLost, "exit code 3"),
    (modals.InternalFailure(f"{LEFT}-9 (SIGKILL)"), ContainerLost, "out of memory.*--memory 32GB"),
    (modals.InternalFailure(f"{LEFT}-9"), ContainerLost, "SIGKILL"),
    (modals.InternalFailure(f"{LEFT}137"), ContainerLost, "SIGKILL"),
    (modals.InternalFailure(f"{LEFT}-11 (SIGSEGV)"), ContainerLost, "crashed in native code"),
    (modals.RemoteError(f"{LEFT}139"), ContainerLost, "SIGSEGV"),
    (modals.InternalFailure(f"{LEFT}-6"), ContainerLost, "SIGABRT"),
    (modals.InternalFailure(f"{LEFT}-12 (SIGUSR2)"), ContainerLost, "ended by the signal SIGUSR2"),
    (modals.InternalFailure(f"{LEFT}{EXIT_STATUS}"), CellTimeout, "did not react"),
    (modals.RemoteError("worker went away"), ContainerLost, "worker went away.*variables are lost"),
    (modals.RemoteError(""), ContainerLost, "RemoteError"),
    (modals.ImageBuildError("pip failed", "im-1"), MachineError, "image could not be built.*pip failed"),
    (modals.AuthError("bad token."), SetupError, "bad token.*modal setup.*--backend local"),
    (modals.ConnectionError("no route"), BackendLost, "no route"),
    (modals.ServiceError("busy"), BackendLost, "internal error: busy"),
    (modals.InternalError("oops"), BackendLost, "internal error: oops"),
    (modals.DataLossError("oops"), BackendLost, "internal error: oops"),
    (modals.ClientClosed(), BackendLost, "closed"),
    (modals.NotFoundError("Secret 'hf' not found"), MachineError, "Secret 'hf' not found"),
    (modals.InvalidError("no such region"), MachineError, "no such region"),
    (modals.ConflictError("taken"), MachineError, "taken"),
    (modals.ResourceExhaustedError("limit"), MachineError, "limit"),
    (modals.PermissionDeniedError("no"), MachineError, "refused"),
    (modals.ExecutionError("no"), MachineError, "refused"),
    (modals.UnimplementedError("SandboxCreate"), MachineError, "SandboxCreate"),
    (modals.VersionError("too old"), SetupError, "too old"),
    (modals.DeserializationError("No module named 'x'"), MachineError, "lacks a package.*'x'"),
    (modals.FunctionTimeoutError("t"), CellTimeout, "24 hours"),
    (modals.OutputExpiredError(), ContainerLost, "7 days"),
]


@pytest.mark.parametrize("error, kind, said", CASES, ids=[f"{type(e).__name__} {e}" for e, _, _ in CASES])
def test_each_of_modals_errors_is_one_of_ours(error: BaseException, kind: type[ModalGpuError], said: str) -> None:
    ours = translate(error)
    assert type(ours) is kind
    assert ours.__cause__ is error
    with pytest.raises(kind, match=said):
        raise ours


@pytest.mark.parametrize("error", [ValueError("x"), ConnectionError("x"), KeyboardInterrupt(), LineError("x")])
def test_any_other_error_stays_what_it_is(error: BaseException) -> None:
    assert translate(error) is error


def strangers() -> list[BaseException]:
    """Errors that have the names of Modal's, and modules that begin like Modal's, and are not Modal's."""
    return [
        type(name, (Exception,), {"__module__": module})("x")
        for name in ("NotFoundError", "ConflictError", "AuthError", "RemoteError", "InternalFailure", "ConnectionError")
        for module in ("modal_tools.errors", "modal_gpu_things", "modal.mine", "__main__")
    ]


@pytest.mark.parametrize("error", strangers(), ids=lambda error: f"{type(error).__module__}.{type(error).__name__}")
def test_a_name_does_not_make_an_error_modals(error: BaseException) -> None:
    assert translate(error) is error
    assert not has_app_ended(error)


class Subclass(modals.NotFoundError):
    """A later SDK may have one."""


@pytest.mark.parametrize(
    "error, gone",
    [
        (modals.NotFoundError("x"), True),
        (modals.ConflictError("x"), True),
        (Subclass("x"), True),
        (modals.InvalidError("x"), False),
        (ValueError("x"), False),
        (None, False),
    ],
)
def test_an_app_that_modal_has_ended(error: BaseException | None, gone: bool) -> None:
    assert has_app_ended(error) is gone


def test_a_subclass_is_translated_as_its_base() -> None:
    assert type(translate(Subclass("x"))) is MachineError
