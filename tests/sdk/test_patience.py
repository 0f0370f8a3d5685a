"""Requests that are tried again, and those that are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

import modal.exception
import pytest
from grpclib.exceptions import StreamTerminatedError

from modal_gpu_magic.errors import BackendLost, ContainerLost, GivenUp
from modal_gpu_magic.sdk.faults import is_transient
from modal_gpu_magic.sdk.patience import MOST_DELAY, delays, patiently

TRANSIENT: tuple[BaseException, ...] = (
    modal.exception.ConnectionError("refused"),
    modal.exception.ServiceError("unavailable"),
    modal.exception.InternalError("internal"),
    modal.exception.ResourceExhaustedError("throttled"),
    StreamTerminatedError("reset"),
    asyncio.CancelledError(),
    ConnectionResetError(),
    TimeoutError(),
)
FINAL: tuple[BaseException, ...] = (
    modal.exception.NotFoundError("no such queue"),
    modal.exception.InternalFailure("the container died"),
    modal.exception.AuthError("no token"),
    modal.exception.InvalidError("wrong"),
    BackendLost("closed"),
    ContainerLost("killed"),
    KeyboardInterrupt(),
    ValueError("ours"),
)


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_may_succeed_later(error: BaseException) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_what_will_not(error: BaseException) -> None:
    assert not is_transient(error)


def failing(times: int, error: BaseException) -> tuple[Callable[[], str], list[int]]:
    """An action that fails so many times, and the list of its calls."""
    calls: list[int] = []

    def action() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error
        return "done"

    return action, calls


def test_it_is_tried_until_it_succeeds() -> None:
    action, calls = failing(2, TRANSIENT[0])
    assert (patiently(action, 60), len(calls)) == ("done", 3)


def test_another_failure_is_raised_at_once() -> None:
    action, calls = failing(1, FINAL[0])
    with pytest.raises(modal.exception.NotFoundError):
        patiently(action, 60)
    assert len(calls) == 1


def test_it_is_given_up() -> None:
    action, _ = failing(1_000, TRANSIENT[1])
    with pytest.raises(GivenUp, match=r"lost for 0 s \(unavailable\)"):
        patiently(action, 0.3)


def test_nobody_waits_any_more() -> None:
    action, calls = failing(1_000, TRANSIENT[1])
    with pytest.raises(modal.exception.ServiceError):
        patiently(action, 60, is_pointless=lambda: len(calls) == 2)
    assert len(calls) == 2


def test_a_probe_that_succeeds_renews_the_patience() -> None:
    """Else a run of hours would be given up for some short outages that add up."""
    action, calls = failing(3, TRANSIENT[1])
    assert (patiently(action, 0.0, probe=lambda: None), len(calls)) == ("done", 4)


def test_the_delays_grow_to_a_limit() -> None:
    found = list(islice(delays(), 20))
    assert found == sorted(found)
    assert found[-1] == MOST_DELAY
